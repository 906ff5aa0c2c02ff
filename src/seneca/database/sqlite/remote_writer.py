"""A worker's connection to the process that writes for all workers (``writer_process``)."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, cast

from seneca.database.sqlite import calls
from seneca.database.sqlite.frames import FrameDecoder, Kind, Message, encode
from seneca.database.sqlite.writer import MAX_QUEUED
from seneca.errors import ServiceUnavailable

Function = Callable[..., Any]

LOST: Final = "The write was interrupted. It may or may not have been stored."


class RemoteWriter:
    """Sends writes to the writer's process.

    It connects when it first writes, and again after the process was replaced: the socket stays, so that writes wait there until the
    new process reads them.

    Args:
        path: the socket.

    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: WriterConnection | None = None
        self._connecting = asyncio.Lock()

    async def write(self, f: Function, args: Sequence[Any], keywords: dict[str, Any], *, is_bulk: bool) -> Any:
        """Run ``f(tx, …)`` in the writer's process; returns its result once that is on disk.

        Raises:
            ServiceUnavailable: too many writes are waiting, there is no writer, or it ended before it answered.
            WriteFailed: an unexpected error, which is a bug.

        """
        connection = self._connection
        if connection is None or connection.is_lost:
            connection = await self._connect()
        return await connection.call(f, args, keywords, is_bulk=is_bulk)

    async def _connect(self) -> "WriterConnection":
        async with self._connecting:
            if self._connection is None or self._connection.is_lost:
                loop = asyncio.get_running_loop()
                try:
                    _, self._connection = await loop.create_unix_connection(WriterConnection, str(self._path))
                except OSError as error:
                    raise ServiceUnavailable("Nothing can be stored right now. Retry later.") from error
            return self._connection

    def stop(self) -> None:
        """Disconnect. Called from another thread."""
        if self._connection is not None:
            self._connection.close()


class WriterConnection(asyncio.Protocol):
    """A connection to the writer's process, with the calls that wait for their outcomes."""

    def __init__(self) -> None:
        self.is_lost = False
        self._loop = asyncio.get_running_loop()
        self._decoder = FrameDecoder()
        self._calls: dict[int, tuple[Function, asyncio.Future[Any]]] = {}
        self._last_number = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.WriteTransport", transport)  # of uvloop, which does not inherit from it

    async def call(self, f: Function, args: Sequence[Any], keywords: dict[str, Any], *, is_bulk: bool) -> Any:
        """Send a call, and wait for its outcome. Raises as ``RemoteWriter.write``."""
        if len(self._calls) >= MAX_QUEUED:
            raise ServiceUnavailable("Too many writes are waiting. Retry later.")
        self._last_number += 1
        kind = Kind.BULK_CALL if is_bulk else Kind.SHORT_CALL
        message = encode(Message(self._last_number, kind, calls.encode_call(f, args, keywords)))
        future = self._loop.create_future()
        self._calls[self._last_number] = f, future
        self._transport.write(message)
        return await future

    def data_received(self, data: bytes) -> None:
        """Deliver outcomes."""
        for message in self._decoder.feed(data):
            f, future = self._calls.pop(message.number)
            if future.done():  # the client has disconnected
                continue
            try:
                if message.kind is Kind.ERROR:
                    future.set_exception(calls.decode_error(message.content))
                else:
                    future.set_result(calls.decode_result(f, message.content))
            except Exception as error:  # noqa: BLE001 - it belongs to this call
                future.set_exception(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the calls that have no outcome."""
        self.is_lost = True
        waiting, self._calls = self._calls, {}
        for _, future in waiting.values():
            if not future.done():
                error = ServiceUnavailable(LOST)
                error.__cause__ = exc
                future.set_exception(error)

    def close(self) -> None:
        """Close the connection once what was sent is written. May be called from another thread."""
        self._loop.call_soon_threadsafe(self._transport.close)
