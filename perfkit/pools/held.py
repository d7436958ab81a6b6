"""redis-py's client on a connection held for as long as its caller wants, as for `SELECT` or `MONITOR`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection

from perfkit.pools.commands import changes_connection, longest_wait_s
from perfkit.pools.deadline import CommandDeadline

if TYPE_CHECKING:
    from perfkit.pools.fair import FairPool

__all__ = ["HeldRedis"]


class HeldRedis(Redis):
    """Every command of redis-py on one connection, each within the pool's deadline.

    What changes the connection (another database, another user, tracking) holds until the client is closed;
    then the connection is closed as well, so that nobody inherits it.
    """

    def __init__(self, pool: FairPool, deadline: CommandDeadline) -> None:
        super().__init__(connection_pool=pool, single_connection_client=True)
        self._deadline = deadline
        self._changed = False

    async def __aenter__(self) -> Self:
        await self.initialize()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        # redis-py counts its contexts first and waits for that: cancelled there, it keeps the connection.
        await self.aclose()

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Give back the connection."""
        if self._changed and self.connection is not None:
            self.connection.mark_for_reconnect()  # type: ignore[no-untyped-call]  # redis-py's
        await super().aclose(close_connection_pool)

    async def _send_command_parse_response(
        self, conn: AbstractConnection, command_name: str, *args: Any, **options: Any
    ) -> Any:
        self._changed = self._changed or changes_connection(args)
        async with self._deadline.over(str(command_name), waits_s=longest_wait_s(args)):
            return await super()._send_command_parse_response(conn, command_name, *args, **options)  # type: ignore[no-untyped-call]  # redis-py's
