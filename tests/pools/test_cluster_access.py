"""Who may enter a cluster, and by which address."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from redis.credentials import UsernamePasswordCredentialProvider
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
)

from perfkit.errors import SettingsError
from perfkit.events import null_probe
from perfkit.pools import Endpoint, OptimizedRedis, PoolSettings, PoolsSettings, RedisPools
from perfkit.pools.server.cluster import ClusterServer
from tests.pools.balance import balanced

Opened = Callable[..., OptimizedRedis]
SECRET = "hunter2"  # noqa: S105  # not one of anything real


async def test_passwords_and_permissions(opened: Opened) -> None:
    """A wrong password is redis-py's error and shows nowhere; a provider is asked for every connection."""
    with ClusterServer.start(nodes=3, password=SECRET) as guarded:
        host = f"127.0.0.1:{guarded.nodes[0].port}"
        for wrong in (f"redis://:not-{SECRET}@{host}/0?cluster=true", f"redis://{host}/0?cluster=true"):
            client = opened(Endpoint.from_url(wrong))
            for ask in (client.get("a"), client.batch_get(["a"]), client.pipeline().get("a").execute()):
                with pytest.raises(AuthenticationError) as failure:
                    await ask
                assert SECRET not in f"{failure.value!r} {failure.value}"
            assert SECRET not in f"{client!r} {await balanced(client)} {await client.health()}"
            assert (await client.health()).verdict == "refused"

        asked = 0

        class Provider(UsernamePasswordCredentialProvider):
            async def get_credentials_async(self) -> tuple[str, str]:
                nonlocal asked
                asked += 1
                return "default", SECRET

        client = opened(Endpoint.from_url(f"redis://{host}/0?cluster=true", credential_provider=Provider()))
        await client.batch_set({f"k{n}": n for n in range(30)})
        assert await client.blpop(["nothing"], timeout=0.01) is None
        assert asked == 4
        assert SECRET not in repr(client)

        await client.acl_setuser(
            "limited",
            enabled=True,
            passwords=["+x"],
            commands=["+@read"],
            keys=["*"],
            target_nodes=client.get_primaries(),
        )  # type: ignore[attr-defined]
        limited = opened(Endpoint.from_url(f"redis://limited:x@{host}/0?cluster=true"))
        with pytest.raises(NoPermissionError):
            await limited.get("a")


async def test_a_cluster_is_reached_over_mux_only(cluster: ClusterServer) -> None:
    """A knob that would have no effect is refused."""
    settings = PoolsSettings(default=PoolSettings(transport="classic"))
    pools = RedisPools(settings, Endpoint.from_url(cluster.url), probe=null_probe)
    with pytest.raises(SettingsError, match=r"pools\.default\.transport"):
        pools.client()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("redis://h/3?cluster=true", "database"),
        ("unix:///s?cluster=true", "socket"),
        ("redis://h/0?cluster=maybe", "cluster='maybe'"),
        ("redis://h/0?clutser=true", "cluster"),
    ],
)
def test_an_address_that_no_cluster_has_is_refused(options: str, why: str) -> None:
    """Before anything is opened."""
    with pytest.raises(SettingsError, match=why):
        Endpoint.from_url(options)
