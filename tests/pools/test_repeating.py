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
