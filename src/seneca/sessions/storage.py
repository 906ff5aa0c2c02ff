"""Lock a session to change it, and store what a transaction changed in it: the row, its results, and the totals."""

from collections.abc import Sequence

from msgspec.structs import asdict, astuple

from seneca.accounts import Learner
from seneca.database import Transaction
from seneca.errors import SessionNotFound
from seneca.sessions.rows import RESULT_UPSERT, SESSION, SessionRow, update_statement
from seneca.sessions.state import SessionState
from seneca.stats import totals
from seneca.stats.totals import LearnerCourse


def lock(tx: Transaction, learner: Learner, session_id: str) -> SessionState:
    """Lock and read a session, to change it without its results.

    Raises:
        SessionNotFound: the learner has no session with this id.

    """
    row = tx.select_for_update(SESSION, bucket=learner.bucket, learner_id=learner.id, session_id=session_id).fetchone()
    if row is None:
        raise SessionNotFound
    return SessionState(SessionRow(*row), {}, tx.idle_ms)


def save(
    tx: Transaction, state: SessionState, new_names: Sequence[str] = (), new_to_bucket: Sequence[str] = ()
) -> None:
    """Store what changed in a stored session, and apply it to the totals.

    Args:
        tx: the transaction.
        state: the session, as it was locked and then changed.
        new_names: of the names of added results, those that are new to the learner in the course.
        new_to_bucket: of these, the ones that are new to the learner's bucket.

    """
    row = state.row
    assert state.stored is not None
    if row != state.stored:
        tx.execute_later(update_statement(state.stored, row), **asdict(row))
    if state.changed:
        key = row.bucket, row.learner_id, row.id
        tx.insert_values_later(RESULT_UPSERT, [(*key, *astuple(result)) for result in state.changed.values()])
    if state.added:
        totals.add_names(tx, LearnerCourse.of(row), dict.fromkeys(state.added, 1), new_names, new_to_bucket)
    totals.apply(tx, state.stored, row, len(new_names))
