"""The exchange format: JSON Lines in and out, for backups and for moving between databases."""

from collections.abc import Callable

Progress = Callable[[str, int, int | None], None]
"""Told now and then how far it is: what is being done, how much of it, and of how much (None: not known)."""
