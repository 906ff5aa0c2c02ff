"""Messages on a stream between two processes: each has its length, a number, a kind, and a content."""

from collections.abc import Iterator
from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple

HEADER: Final = Struct("!IQB")


class Kind(IntEnum):
    """What a message is."""

    SHORT_CALL = 1
    BULK_CALL = 2
    RESULT = 3
    ERROR = 4


class Message(NamedTuple):
    """A message. An outcome has the number of its call."""

    number: int
    kind: Kind
    content: bytes


def encode(message: Message) -> bytes:
    """Encode a message."""
    return HEADER.pack(len(message.content), message.number, message.kind) + message.content


class FrameDecoder:
    """Divides a stream into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that are complete with these further bytes."""
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= HEADER.size:
            size, number, kind = HEADER.unpack_from(buffer, start)
            stop = start + HEADER.size + size
            if len(buffer) < stop:
                break
            yield Message(number, Kind(kind), bytes(buffer[start + HEADER.size : stop]))
            start = stop
        del buffer[:start]
