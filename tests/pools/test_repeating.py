"""What has effects is carried out at most once, whatever is lost on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from redis.exceptions import ReadOnlyError

from perfkit.pools import OptimizedRedis
from perfkit.pools.failures import RedisLost
from tests.pools.scripted_server import Answer, Command, Visit, bulk, scripted

Opened = Callable[..., OptimizedRedis]
READONLY = b"-READONLY You can't write against a read only replica.\r\n"
LOADING = b"-LOADING Redis is loading the dataset in memory\r\n"


@pytest.mark.parametrize("transport", ["mux", "classic"])
async def test_a_pipeline_that_was_refused_in_part_is_not_sent_again(opened: Opened, transport: str) -> None:
    """READONLY in the middle of a failover says nothing of the commands before it, which were carried out."""

    def answer(command: Command, _visit: Visit) -> Answer:
        return b":1\r\n" if command[1] == b"done" else READONLY

    async with scripted(answer) as server:
        client = opened(server.endpoint, transport=transport, retries=3)
        with pytest.raises(ReadOnlyError):
            await client.pipeline(transaction=False).incr("done").incr("refused").execute()

        assert Counter(command[1] for command in server.heard) == {b"done": 1, b"refused": 1}


@pytest.mark.parametrize("transport", ["mux", "classic"])
@pytest.mark.parametrize("transaction", [False, True])
async def test_a_pipeline_that_was_not_carried_out_is_sent_again_whole(
    opened: Opened, transport: str, transaction: bool
) -> None:
    """redis-py empties a pipeline that failed; sent again empty, it once answered [] as if all were well."""
    refusals = iter([LOADING])

    def answer(command: Command, _visit: Visit) -> Answer:
        if command == [b"EXEC"]:
            refused = next(refusals, None)
            return (
                b"-EXECABORT Transaction discarded because of previous errors.\r\n"
                if refused
                else b"*1\r\n:1\r\n"
            )
        if transaction:
            return (
                b"+OK\r\n"
                if command == [b"MULTI"]
                else (LOADING if len(server.heard) < 3 else b"+QUEUED\r\n")
            )
        return next(refusals, b":1\r\n")

    async with scripted(answer) as server:
        client = opened(server.endpoint, transport=transport, retries=3)
        pipeline = client.pipeline(transaction=transaction)

        assert await pipeline.incr("n").execute() == [1]
        assert (await client.get_metrics())["retries"] == 1


@pytest.mark.parametrize("transport", ["mux", "classic"])
@pytest.mark.parametrize("how", ["incr", "pipeline", "transaction", "execute_many"])
async def test_an_incr_whose_reply_was_lost_is_not_sent_again(
    opened: Opened, transport: str, how: str
) -> None:
    """It may have happened, and only its caller knows whether to repeat it."""

    def answer(_command: Command, visit: Visit) -> Answer:
        visit.reset()
        return None

    async with scripted(answer) as server:
        client = opened(server.endpoint, transport=transport, retries=3)
        asked = {
            "incr": lambda: client.incr("n"),
            "pipeline": lambda: client.pipeline(transaction=False).incr("n").execute(),
            "transaction": lambda: client.pipeline().incr("n").execute(),
            "execute_many": lambda: client.execute_many([("INCRBY", "n", 1)]),
        }
        with pytest.raises(RedisLost) as lost:
            await asked[how]()

        metrics = await client.get_metrics()
        assert lost.value.sent
        assert max(Counter(command[0] for command in server.heard).values()) == 1
        assert (metrics["calls"], metrics["failed"], metrics["in_flight"]) == (1, 1, 0)


@pytest.mark.parametrize("transport", ["mux", "classic"])
async def test_a_read_whose_reply_was_lost_is_sent_again(opened: Opened, transport: str) -> None:
    """Reading twice does no harm, so its caller does not hear of one lost connection."""

    def answer(_command: Command, visit: Visit) -> Answer:
        if len(server.visits) > 1:
            return bulk("v")
        visit.reset()
        return None

    async with scripted(answer) as server:
        client = opened(server.endpoint, transport=transport, retries=3)

        assert await client.get("a") == b"v"
        assert (await client.get_metrics())["retries"] == 1


@pytest.mark.parametrize(
    "command",
    [
        ("SADD", "seen", "a"),
        ("SET", "lock", "me", "NX"),
        ("EXPIREAT", "a", 9, "NX"),
        ("HSETEX", "h", "FNX", "FIELDS", 1, "f", "v"),
        ("CLUSTER", "FAILOVER"),
    ],
)
async def test_what_tells_who_was_first_is_not_sent_again(
    opened: Opened, command: tuple[str | int, ...]
) -> None:
    """Sent twice, it would tell the one who was first that another had been."""

    def answer(_command: Command, visit: Visit) -> Answer:
        visit.reset()
        return None

    async with scripted(answer) as server:
        client = opened(server.endpoint, retries=3)
        with pytest.raises(RedisLost):
            await client.execute_command(*command)

        assert len(server.heard) == 1
