"""Corrections by administrators: set the times of a session, or delete it for good. Each is audited."""

from collections.abc import Iterator

from msgspec import UNSET, Struct, UnsetType

from seneca import accounts, audit
from seneca.accounts import Learner
from seneca.auth.authorisation import Actor, authorise
from seneca.common.ids import bucket_of
from seneca.common.times import from_iso, to_iso
from seneca.database import Transaction
from seneca.errors import FieldError, InvalidInput
from seneca.sessions import deletion, queries, storage, time_zone, voided
from seneca.sessions.device_times import DeviceTime, time_errors
from seneca.sessions.queries import Session


class SessionCorrection(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A request to correct the times of a session. What is omitted stays; ``sessionEnd: null`` reopens the session."""

    session_start: DeviceTime | UnsetType = UNSET
    session_end: DeviceTime | UnsetType | None = UNSET

    def find_errors(self) -> Iterator[FieldError]:
        """Check the times."""
        yield from time_errors(self.session_start, "sessionStart")
        yield from time_errors(self.session_end, "sessionEnd")


def correct(
    tx: Transaction, actor: Actor, id: str, user_id: str | None, correction: SessionCorrection, *, now: int
) -> Session:
    """Set the start or the end of a session; returns the session.

    Args:
        tx: the transaction.
        actor: the administrator.
        id: the session id.
        user_id: the id of the session's learner; None: the only learner with such a session.
        correction: the new times.
        now: the time, in milliseconds since 1970.

    Raises:
        SessionNotFound: there is no such session.
        Ambiguous: several learners have a session with this id.
        InvalidInput: a time is in the future, or the session would end before it starts.
        Unauthenticated: the administrator's sign-in has ended.
        Forbidden: the actor is no longer an administrator.

    """
    authorise(tx, actor, "admin")
    learner = _learner(tx, id, user_id)
    tx.select_for_update(accounts.LOCK, id=learner.id)  # the session may move to another day
    zone = time_zone.send_get(tx)
    state = storage.lock(tx, learner, id)
    before = state.row
    started_at = before.started_at if correction.session_start is UNSET else from_iso(correction.session_start)
    ended_at = from_iso(correction.session_end) if isinstance(correction.session_end, str) else correction.session_end
    state.correct(started_at, ended_at, now=now, zone=time_zone.of_result(zone))
    _check_times(started_at, state.row.ended_at, correction, now)
    if state.row != before:
        storage.save(tx, state)
        times = {"sessionStart": to_iso(before.started_at), "newSessionStart": to_iso(started_at)}
        for name, end in (("sessionEnd", before.ended_at), ("newSessionEnd", state.row.ended_at)):
            times |= {} if end is None else {name: to_iso(end)}
        audit.record(tx, actor.id, "session.corrected", learner.id, now, session=id, **times)
    return queries.get(tx, learner.id, id)


def _check_times(started_at: int, ended_at: int | None, correction: SessionCorrection, now: int) -> None:
    fields = {"sessionStart": (correction.session_start, started_at), "sessionEnd": (correction.session_end, ended_at)}
    errors = [
        FieldError(name, "must not be in the future")
        for name, (text, time) in fields.items()
        if isinstance(text, str) and time is not None and time > now
    ]
    if ended_at is not None and ended_at < started_at:
        is_end = isinstance(correction.session_end, str)
        errors.append(
            FieldError("sessionEnd", "must not be before sessionStart")
            if is_end
            else FieldError("sessionStart", "must not be after sessionEnd")
        )
    if errors:
        raise InvalidInput(errors)


def void(tx: Transaction, actor: Actor, id: str, user_id: str | None, now: int) -> None:
    """Delete a session with its results, and remember its id, so that a device cannot bring it back.

    Args:
        tx: the transaction.
        actor: the administrator.
        id: the session id.
        user_id: the id of the session's learner; None: the only learner with such a session.
        now: the time, in milliseconds since 1970.

    Raises:
        SessionNotFound: there is no such session.
        Ambiguous: several learners have a session with this id.
        Unauthenticated: the administrator's sign-in has ended.
        Forbidden: the actor is no longer an administrator.

    """
    authorise(tx, actor, "admin")
    learner = _learner(tx, id, user_id)
    tx.select_for_update(accounts.LOCK, id=learner.id)  # to which the id will refer; first, as an erasure does
    session = storage.lock(tx, learner, id).row
    deletion.delete(tx, learner, [session])
    voided.add(tx, learner, id, now)
    audit.record(
        tx,
        actor.id,
        "session.voided",
        learner.id,
        now,
        session=id,
        course=session.course_id,
        sessionStart=to_iso(session.started_at),
        results=session.results,
    )


def _learner(tx: Transaction, id: str, user_id: str | None) -> Learner:
    """The learner of a session. Raises SessionNotFound and Ambiguous."""
    if user_id is not None:
        return Learner(user_id, bucket_of(user_id, tx.buckets))
    row = queries.find_only(tx, id)
    return Learner(row.learner_id, row.bucket)
