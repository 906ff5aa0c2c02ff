"""Delay SIGTERM until a worker can handle it: Granian installs its handlers only when it listens."""

import signal


def block_sigterm() -> None:
    """Block SIGTERM. A worker that gets it before Granian's handlers are installed would lose it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])


def unblock_sigterm() -> None:
    """Unblock SIGTERM; a pending one is delivered."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
