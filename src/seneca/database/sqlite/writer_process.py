"""The process that writes for all workers of a server: it reads their calls from sockets, and commits them together.

It has one thread: what arrives while a group is committed is the next group.
"""

import selectors
import socket
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Final

from seneca.database import Transaction
from seneca.database.sqlite import calls
from seneca.database.sqlite.frames import FrameDecoder, Kind, Message, encode
from seneca.database.sqlite.transaction import SqliteTransaction
from seneca.database.sqlite.writer import PendingWrite, Writer

READ_BYTES: Final = 1024 * 1024


def run(connect: Callable[[], SqliteTransaction], listener: socket.socket, parent: Connection) -> None:
    """Write what workers send, until the parent has ended and every worker has disconnected.

    Args:
        connect: opens a connection to the database.
        listener: the socket to which workers connect.
        parent: its other end closes when the parent ends; nothing is sent through it.

    """
    Writer(connect, Workers(listener, parent)).run()


class Workers:
    """The workers' connections: a ``WriteSource``. The arguments are as those of ``run``."""

    def __init__(self, listener: socket.socket, parent: Connection) -> None:
        self._listener = listener
        self._parent = parent
        self._parent_has_ended = False
        self._connections: set[WorkerConnection] = set()
        self._selector = selectors.DefaultSelector()
        listener.setblocking(False)  # noqa: FBT003
        self._selector.register(listener, selectors.EVENT_READ)
        self._selector.register(parent, selectors.EVENT_READ)

    @property
    def has_ended(self) -> bool:
        """Whether the parent has ended and every worker has disconnected."""
        return self._parent_has_ended and not self._connections

    def receive(self, *, wait: bool) -> Iterator[PendingWrite]:
        """The calls that have arrived; with ``wait``, waits until something happens."""
        for key, events in self._selector.select(None if wait else 0):
            if isinstance(key.data, WorkerConnection):
                yield from self._read(key.data, events)
            elif key.fileobj is self._listener:
                self._accept()
            else:
                self._selector.unregister(self._parent)
                self._parent_has_ended = True

    def _accept(self) -> None:
        with suppress(OSError):  # the worker has gone
            connection = WorkerConnection(self._listener.accept()[0], self._selector)
            self._connections.add(connection)

    def _read(self, connection: "WorkerConnection", events: int) -> Iterator[PendingWrite]:
        try:
            if events & selectors.EVENT_WRITE:
                connection.send(b"")
            if events & selectors.EVENT_READ:
                yield from connection.receive()
        except OSError:
            self._close(connection)

    def _close(self, connection: "WorkerConnection") -> None:
        if connection in self._connections:
            self._connections.remove(connection)
            connection.close()

    def resolve(self, writes: Sequence["RemoteWrite"]) -> None:
        """Send the results and errors of writes, all of one worker together."""
        outcomes: defaultdict[WorkerConnection, list[bytes]] = defaultdict(list)
        for write in writes:
            outcomes[write.connection].append(write.outcome())
        for connection, messages in outcomes.items():
            try:
                connection.send(b"".join(messages))
            except OSError:  # the worker has gone
                self._close(connection)


class RemoteWrite(PendingWrite):
    """A waiting write of a worker.

    Args:
        connection: the worker's.
        message: the call.

    """

    __slots__ = ("connection", "f", "number")

    def __init__(self, connection: "WorkerConnection", message: Message) -> None:
        self.connection = connection
        self.number = message.number
        try:
            self.f, work = calls.decode_call(message.content)
        except Exception as error:  # noqa: BLE001 - it belongs to this write
            work = _raise(error)
        super().__init__(work, is_bulk=message.kind is Kind.BULK_CALL)

    def outcome(self) -> bytes:
        """The message with the result or the error."""
        try:
            if self.error is None:
                return encode(Message(self.number, Kind.RESULT, calls.encode_result(self.result)))
            return encode(Message(self.number, Kind.ERROR, calls.encode_error(self.error)))
        except Exception as error:  # noqa: BLE001 - it belongs to this write
            return encode(Message(self.number, Kind.ERROR, calls.encode_error(RuntimeError(repr(error)))))


def _raise(error: Exception) -> Callable[[Transaction], Any]:
    """A write that fails with an error."""

    def work(_: Transaction) -> None:
        raise error

    return work


class WorkerConnection:
    """The connection of one worker. It never blocks, so that a worker that has stopped does not stop the others' writes."""

    def __init__(self, connection: socket.socket, selector: selectors.BaseSelector) -> None:
        connection.setblocking(False)  # noqa: FBT003
        selector.register(connection, selectors.EVENT_READ, self)
        self._socket = connection
        self._selector = selector
        self._decoder = FrameDecoder()
        self._unsent = b""

    def receive(self) -> Iterator[PendingWrite]:
        """The calls that have arrived. Raises OSError if the worker has disconnected."""
        data = self._socket.recv(READ_BYTES)
        if not data:
            raise ConnectionResetError
        for message in self._decoder.feed(data):
            yield RemoteWrite(self, message)

    def send(self, data: bytes) -> None:
        """Send data, now or once the worker reads. Raises OSError if the worker has disconnected."""
        self._unsent += data
        with suppress(BlockingIOError):
            self._unsent = self._unsent[self._socket.send(self._unsent) :]
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)
        self._selector.modify(self._socket, events, self)

    def close(self) -> None:
        """Close the connection."""
        self._selector.unregister(self._socket)
        self._socket.close()
