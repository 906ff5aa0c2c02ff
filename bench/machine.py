"""What it ran on: without that, a number means little."""

import os
import platform
import statistics
import tempfile
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import apsw

SYNCS = 300
BLOCK = b"\0" * 8192
LOOK = 0.5  # seconds
MOST_TAKEN = 0.05  # of the machine by other processes: more disturbs a measurement
_TICKS = os.sysconf("SC_CLK_TCK")  # a second


def describe(directory: Path) -> str:
    """One line: processor, cores, disk, and the versions that matter."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("litestar", "granian", "msgspec"))
    return (
        f"{_processor()}, {os.cpu_count()} cores; {platform.system()}, Python {platform.python_version()}, {packages}, "
        f"SQLite {apsw.sqlite_lib_version()}; 8 KiB written and synced in {sync_microseconds(directory):.0f} µs (median)"
    )


def sync_microseconds(directory: Path) -> float:
    """The median time to append 8 KiB to a file in this directory and have it on disk: what a durable commit costs."""
    took = []
    with tempfile.NamedTemporaryFile(dir=directory, buffering=0) as file:
        for _ in range(SYNCS):
            began = time.perf_counter()
            file.write(BLOCK)
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e6


class Watch:
    """Watches, from when it is made, for processes that are not ours: those that this one did not start."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._busy, self._ours = _busy(), _ours()

    def others(self) -> float:
        """The share of all processors' time, 0 to 1, that others have taken since."""
        whole = (time.perf_counter() - self._began) * _TICKS * (os.cpu_count() or 1)
        return max(0.0, (_busy() - self._busy) - (_ours() - self._ours)) / whole


class Patience:
    """Waits for other processes to leave the machine alone, this many seconds in all."""

    def __init__(self, seconds: float) -> None:
        self._left = seconds

    def wait(self) -> None:
        """Wait until the machine is ours, or patience is used up. On a quiet machine: half a second."""
        while self._left > 0:
            watch = Watch()
            time.sleep(LOOK)
            if watch.others() <= MOST_TAKEN:
                return
            self._left -= LOOK


def _busy() -> int:
    """Ticks in which a processor did anything, or was taken away by the host."""
    with Path("/proc/stat").open(encoding="ascii") as file:
        user, nice, system, _idle, _wait, irq, softirq, steal = map(int, file.readline().split()[1:9])
    return user + nice + system + irq + softirq + steal


def _ours() -> int:
    """Ticks that this process and its descendants have taken, those that have ended included."""
    return _ticks(os.getpid())


def processor_seconds(root: int) -> float:
    """Seconds of processor that a process and its descendants have taken, those that have ended included."""
    return _ticks(root) / _TICKS


def _ticks(root: int) -> int:
    parents, took = {}, {}
    for directory in Path("/proc").iterdir():
        if directory.name.isdecimal():
            with suppress(OSError):
                fields = (directory / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
                parents[int(directory.name)] = int(fields[1])
                took[int(directory.name)] = sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime
    total, wave = 0, {root}
    while wave:
        total += sum(took.get(id_, 0) for id_ in wave)
        wave = {id_ for id_, parent in parents.items() if parent in wave}
    return total


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()
