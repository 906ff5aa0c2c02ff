"""Import and export of JSON Lines in the exchange format, also to move data between database engines."""

from seneca.database import Progress

__all__ = ["Progress"]
