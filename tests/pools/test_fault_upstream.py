"""Where a proxy leads to, and how its own address is made from that."""

from __future__ import annotations

import pytest

from perfkit.pools.fault_proxy.upstream import Upstream


@pytest.mark.parametrize(
    ("upstream", "through"),
    [
        ("redis://cache", "redis://127.0.0.1:99/0"),
        ("redis://ada:s%40@[::1]:6380/3", "redis://ada:s%40@127.0.0.1:99/3"),
        ("redis://cache:6379?db=4&protocol=3", "redis://127.0.0.1:99/4?protocol=3"),
        ("rediss://cache:6379/1?ssl_cert_reqs=none", "rediss://127.0.0.1:99/1?ssl_cert_reqs=none"),
        ("unix:///run/r.sock?db=2", "redis://127.0.0.1:99/2"),
    ],
)
def test_only_the_place_changes_in_an_address(upstream: str, through: str) -> None:
    """Who one is, which database, and how to speak stay."""
    assert Upstream.from_url(upstream).url_through(99) == through
