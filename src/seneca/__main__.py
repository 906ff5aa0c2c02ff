"""``python -m seneca``."""

from seneca.cli import main

main()
