"""Have what was erased scoured out of the database's files.

The erasure asks for it in the database: so it is done after a crash, too, and by whichever server looks next.
"""

from seneca import units
from seneca.database import Database, Transaction

WANT = """
INSERT INTO properties (name, value) VALUES ('scouring-wanted', :mark)
ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""
WANTED = "SELECT value FROM properties WHERE name = 'scouring-wanted'"
DONE = "DELETE FROM properties WHERE name = 'scouring-wanted' AND value = :mark"


def want(tx: Transaction) -> None:
    """Ask for the files to be scoured, once this transaction is committed."""
    tx.put(WANT, mark=units.new_id())


def wanted(tx: Transaction) -> str | None:
    """The mark of the latest wish, or None: there is none."""
    row = tx.one(WANTED)
    return None if row is None else str(row[0])


def done(tx: Transaction, mark: str) -> None:
    """Note that this wish is fulfilled."""
    tx.put(DONE, mark=mark)


async def scour(database: Database, *, thoroughly: bool = False) -> None:
    """Scour the files, if that is wanted. Raises Unavailable: not now."""
    mark = await database.read(wanted)
    if mark is not None or thoroughly:
        await database.scour(thoroughly=thoroughly)
        if mark is not None:
            await database.write(done, mark)
