"""Checked records, kept in temporary files until they are stored."""

from collections.abc import Iterator
from contextlib import suppress
from tempfile import TemporaryFile
from typing import BinaryIO, Final, Literal, cast

import msgspec

from seneca.errors import CommandError
from seneca.exchange.records import CourseRecord, Record, UserRecord
from seneca.exchange.session_lines import SessionRecord, VoidedSessionRecord
from seneca.exchange.settings_lines import SettingsRecord

BUFFER_BYTES: Final = 32 * 1024  # for each bucket
LENGTH_BYTES: Final = 4

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(cast("type[Record]", Record))

FileKey = int | Literal["accounts", "voided"]
"""What a file holds: the sessions of a bucket, the settings, courses and accounts, or the voided ids."""


class Spool:
    """Settings, courses and accounts, voided ids, and the sessions of each bucket, each in insertion order.

    Sessions that are stored by bucket touch a small part of each table at a time, which fits into the database's cache.
    The files have no names and are readable by their owner only; ``TMPDIR`` is their directory.
    """

    def __init__(self, buckets: int) -> None:
        self.added = 0
        self.sessions = 0
        self.course_ids: list[str] = []
        self.buckets = buckets
        self._files: dict[FileKey, BinaryIO] = {}

    def add(self, record: Record) -> None:
        """Add a record. Raises CommandError if the disk is full."""
        key: FileKey = "accounts"
        if isinstance(record, SessionRecord):
            key = record.row.bucket
            self.sessions += 1
        elif isinstance(record, VoidedSessionRecord):
            key = "voided"
        raw = _encoder.encode(record)
        try:
            if key not in self._files:
                file = TemporaryFile(buffering=BUFFER_BYTES, prefix="seneca-")  # noqa: SIM115 - ``close`` closes it
                self._files[key] = cast("BinaryIO", file)
            self._files[key].write(len(raw).to_bytes(LENGTH_BYTES) + raw)
        except OSError as error:
            raise _disk_error(error) from error
        self.added += 1
        if isinstance(record, CourseRecord):
            self.course_ids.append(record.id)

    def courses_and_accounts(self) -> Iterator[SettingsRecord | CourseRecord | UserRecord]:
        """Iterate over the settings, courses and accounts. Raises CommandError."""
        return cast("Iterator[SettingsRecord | CourseRecord | UserRecord]", self._read("accounts"))

    def voided(self) -> Iterator[VoidedSessionRecord]:
        """Iterate over the voided ids. Raises CommandError."""
        return cast("Iterator[VoidedSessionRecord]", self._read("voided"))

    def by_bucket(self) -> Iterator[tuple[int, Iterator[SessionRecord]]]:
        """Iterate over the buckets that have sessions, each with its sessions. Raises CommandError."""
        for bucket in sorted(key for key in self._files if isinstance(key, int)):
            yield bucket, cast("Iterator[SessionRecord]", self._read(bucket))

    def _read(self, key: FileKey) -> Iterator[Record]:
        if key in self._files:
            file = self._files[key]
            try:
                file.seek(0)  # flushes the buffer
                while head := file.read(LENGTH_BYTES):
                    yield _decoder.decode(file.read(int.from_bytes(head)))
            except OSError as error:
                raise _disk_error(error) from error

    def close(self) -> None:
        """Discard the records."""
        for file in self._files.values():
            with suppress(OSError):  # the disk has no space for the buffer, which is no longer needed
                file.close()


def _disk_error(error: OSError) -> CommandError:
    return CommandError(f"A temporary file cannot be written: {error.strerror}. TMPDIR sets its directory.")
