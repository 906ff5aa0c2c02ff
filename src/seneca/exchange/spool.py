"""Checked entries, set down in temporary files until they are stored."""

from collections.abc import Iterator
from contextlib import suppress
from tempfile import TemporaryFile
from typing import BinaryIO, Final, cast

import msgspec

from seneca.common.ids import bucket_of
from seneca.errors import CommandError
from seneca.exchange.records import Course, Entry, Session, User

BUFFER: Final = 32 * 1024  # bytes; an import holds one for each bucket
LENGTH: Final = 4  # bytes

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Course | User | Session)


class Spool:
    """Courses and accounts in the order in which they were added; sessions likewise, within a bucket.

    Stored bucket by bucket, sessions fall into a narrow part of each table at a time, which a cache can hold.
    The files have no names and are their owner's alone; they lie where ``TMPDIR`` says.
    """

    def __init__(self, buckets: int) -> None:
        self.added = 0
        self.sessions = 0
        self.course_ids: list[str] = []
        self._buckets = buckets
        self._files: dict[int | None, BinaryIO] = {}

    def add(self, entry: Entry) -> None:
        """Add an entry. Raises CommandError."""
        bucket = bucket_of(entry.learner_id, self._buckets) if isinstance(entry, Session) else None
        raw = _encoder.encode(entry)
        try:
            if bucket not in self._files:
                file = TemporaryFile(buffering=BUFFER, prefix="seneca-")  # noqa: SIM115 - ``close`` closes it
                self._files[bucket] = cast("BinaryIO", file)
            self._files[bucket].write(len(raw).to_bytes(LENGTH) + raw)
        except OSError as error:
            raise _full(error) from error
        self.added += 1
        if isinstance(entry, Course):
            self.course_ids.append(entry.id)
        self.sessions += bucket is not None

    def directory(self) -> Iterator[Course | User]:
        """The courses and accounts. Raises CommandError."""
        return cast("Iterator[Course | User]", self._read(None))

    def by_bucket(self) -> Iterator[tuple[int, Iterator[Session]]]:
        """Each bucket that has sessions, and these. Raises CommandError."""
        for bucket in sorted(bucket for bucket in self._files if bucket is not None):
            yield bucket, cast("Iterator[Session]", self._read(bucket))

    def _read(self, bucket: int | None) -> Iterator[Entry]:
        if bucket in self._files:
            file = self._files[bucket]
            try:
                file.seek(0)  # writes what its buffer holds
                while head := file.read(LENGTH):
                    yield _decoder.decode(file.read(int.from_bytes(head)))
            except OSError as error:
                raise _full(error) from error

    def close(self) -> None:
        """Forget the entries."""
        for file in self._files.values():
            with suppress(OSError):  # there is no room for what its buffer holds, which nobody wants any more
                file.close()


def _full(error: OSError) -> CommandError:
    return CommandError(f"A temporary file cannot be written: {error.strerror}. TMPDIR says where.")
