"""Export all data about one account as a JSON document."""

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Raw, Struct
from msgspec.structs import asdict

from seneca import accounts, audit
from seneca.accounts import Account, Learner
from seneca.audit import AuditEntry
from seneca.auth.authorisation import authorise
from seneca.auth.caller import Caller
from seneca.common.ids import bucket_of
from seneca.common.pages import Page, iterate
from seneca.common.times import to_iso
from seneca.database import Transaction
from seneca.sessions import activity, learner_quotas, queries, voided
from seneca.sessions import lists as session_lists
from seneca.sessions.learner_quotas import Quota
from seneca.sessions.queries import Session
from seneca.sessions.results import EMPTY_PART, ModuleResult, with_time
from seneca.sessions.rows import ResultRow, SessionRow
from seneca.sessions.voided import VoidedSession
from seneca.stats import queries as statistics_queries
from seneca.stats.queries import Statistics

SESSIONS_PER_PAGE: Final = 500

_encoder: Final = msgspec.json.Encoder(decimal_format="number")


class SignIn(Struct, frozen=True, rename="camel"):
    """An active sign-in."""

    id: str
    started_at: str
    refreshed_at: str


class Addresses(Struct, frozen=True, rename="camel"):
    """The network addresses from which the account has signed in. Only their hashes are stored."""

    count: int
    last_seen_at: str | None


class HourlyQuota(Struct, frozen=True, rename="camel"):
    """What the account's latest hour of study was charged with, including unspent reservations."""

    started_at: str
    writes: int
    bytes: int


class RecordedModule(ModuleResult, frozen=True):
    """One module's results. Parts have ``recordedAt``, if their time is known."""


class RecordedSession(Session, frozen=True):
    """A session with all that is recorded about it."""

    modules_stats: list[RecordedModule]  # type: ignore[assignment] # frozen, so that a list of a subclass is one
    activity: Annotated[
        list[tuple[str, str]],
        Meta(
            description="The first and the last of events that follow each other within the idle time, between start and end."
        ),
    ]


class DataExport(Struct, frozen=True, rename="camel"):
    """All data about one account."""

    exported_at: str
    account: Account
    has_password: Annotated[bool, Meta(description="Only a hash of the password is stored. It is not exported.")]
    sign_ins: Annotated[list[SignIn], Meta(description="The active sign-ins.")]
    addresses: Addresses
    hourly_quota: Annotated[
        HourlyQuota | None,
        Meta(description="How much was stored in the latest hour of study; `null`: nothing was ever stored."),
    ]
    audit: Annotated[list[AuditEntry], Meta(description="The audit entries by and about the account, oldest first.")]
    statistics: Annotated[Statistics, Meta(description="Over all courses.")]
    voided_sessions: Annotated[
        list[VoidedSession], Meta(description="The ids of sessions that an administrator deleted, oldest first.")
    ]
    sessions: Annotated[list[RecordedSession], Meta(description="With all results, oldest first.")]


SIGN_INS = """
SELECT id, started_at, refreshed_at FROM sign_ins WHERE bucket = :bucket AND account_id = :id ORDER BY started_at, id
"""
ADDRESSES = """
SELECT count(*), max(seen_at) FROM familiar_addresses WHERE bucket = :bucket AND account_id = :id
"""


def record(tx: Transaction, caller: Caller, account_id: str, now: int) -> None:
    """Record in the audit log that an administrator is about to export an account's data.

    Raises:
        Unauthenticated, Forbidden: the caller is no longer a signed-in administrator.
        AccountNotFound: no account has this id, or it is being erased.

    """
    authorise(tx, caller, "admin")
    accounts.get(tx, account_id)
    audit.record(tx, caller.id, "account.exported", account_id, now)


def write(tx: Transaction, account_id: str, now: int, write_chunk: Callable[[bytes], object]) -> None:
    """Write an account's ``DataExport`` in chunks, from this transaction's snapshot.

    Args:
        tx: the transaction.
        account_id: the account.
        now: milliseconds since 1970.
        write_chunk: called with each chunk.

    Raises:
        AccountNotFound: no account has this id.

    """
    head = _head(tx, account_id, now)
    write_chunk(_encoder.encode(head).removesuffix(b"]}"))  # without the end of its empty list of sessions
    separator = b""
    for session in _sessions(tx, accounts.learner(tx, account_id)):
        write_chunk(separator + _encoder.encode(session))
        separator = b","
    write_chunk(b"]}")


def _head(tx: Transaction, account_id: str, now: int) -> DataExport:
    account = accounts.get(tx, account_id)
    bucket = bucket_of(account_id, tx.buckets)
    key = {"bucket": bucket, "id": account_id}
    credentials = accounts.credentials_of(tx, account_id)
    ((count, last_seen),) = tx.fetch_all(ADDRESSES, **key)
    return DataExport(
        exported_at=to_iso(now),
        account=account,
        has_password=credentials is not None and credentials.password_hash is not None,
        sign_ins=[SignIn(row[0], to_iso(row[1]), to_iso(row[2])) for row in tx.fetch_all(SIGN_INS, **key)],
        addresses=Addresses(count, None if last_seen is None else to_iso(last_seen)),
        hourly_quota=_quota(learner_quotas.of(tx, Learner(account_id, bucket))),
        audit=audit.about(tx, account_id),
        statistics=statistics_queries.of_learner(tx, account_id),
        voided_sessions=voided.of_learner(tx, Learner(account_id, bucket)),
        sessions=[],
    )


def _quota(quota: Quota | None) -> HourlyQuota | None:
    return None if quota is None else HourlyQuota(to_iso(quota.window_start), quota.writes, quota.bytes)


def _sessions(tx: Transaction, learner: Learner) -> Iterator[Session]:
    def read(after: session_lists.Cursor) -> Page[Session, session_lists.Cursor]:
        return session_lists.page_of_learner(tx, learner, after, SESSIONS_PER_PAGE, load=_load)

    return iterate(read, session_lists.ALL.first)


def _load(tx: Transaction, rows: Sequence[SessionRow]) -> list[Session]:
    """Load the sessions of rows with all that is recorded about them."""
    return [_to_recorded(row, results) for row, results in queries.with_results(tx, rows)]


def _to_recorded(row: SessionRow, results: Sequence[ResultRow]) -> RecordedSession:
    session = asdict(queries.to_session(row, ()))
    intervals = activity.to_iso_pairs(activity.parse(row.activity))
    return RecordedSession(
        **session | {"modules_stats": [_to_module(result) for result in results]}, activity=intervals
    )


def _to_module(result: ResultRow) -> RecordedModule:
    return RecordedModule(
        module_name=result.module_name,
        adaptive=_part(result.adaptive, result.adaptive_at),
        quiz=_part(result.quiz, result.quiz_at),
        wrong_answers=_part(result.wrong_answers, result.wrong_answers_at),
    )


def _part(text: str | None, recorded_at: int | None) -> Raw:
    return EMPTY_PART if text is None else with_time(text, recorded_at)
