"""The exchange format: JSON Lines in and out, for moving between databases, too."""

from seneca.database import Progress

__all__ = ["Progress"]
