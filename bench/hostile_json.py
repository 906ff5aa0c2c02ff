"""What does the JSON of a stranger cost? ``python -m bench.hostile_json``, without a server.

Every shape of ``tests/helpers/hostile_json.py`` is decoded as the body of each of three routes: processor time (the best of three) and
peak memory of the worst. Beside them what decoding costs those who mean well.
"""

import json
import time
import timeit
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from tests.helpers.hostile_json import BYTES, ID, by_chance, placed, shapes

from seneca.accounts.registration import Registration
from seneca.common.json_decoding import decode
from seneca.courses import NewCourse
from seneca.errors import ApiError
from seneca.sessions.requests import UpdateSession

KINDS = [Registration, UpdateSession, NewCourse]
BY_CHANCE = 200
WORST = 8
SLOW_NS = 2_000_000_000  # is not measured again


def refuse(raw: bytes, kind: type[Any]) -> None:
    """Decode a text, whatever comes of it."""
    with suppress(ApiError):
        decode(raw, kind)


def milliseconds(raw: bytes, kind: type[Any]) -> float:
    """The least processor time of three."""
    least = SLOW_NS * 100
    for _ in range(3):
        began = time.thread_time_ns()
        refuse(raw, kind)
        least = min(least, time.thread_time_ns() - began)
        if least > SLOW_NS:
            break
    return least / 1e6


def megabytes(raw: bytes, kind: type[Any]) -> float:
    """The peak of what was allocated, the least of two: Python's own tables grow now and then."""
    peaks = []
    for _ in range(2):
        tracemalloc.start()
        refuse(raw, kind)
        peaks.append(tracemalloc.get_traced_memory()[1] / 1e6)
        tracemalloc.stop()
    return min(peaks)


def texts() -> Iterator[tuple[str, bytes]]:
    """Every text, with a name."""
    for name, text in shapes():
        for place, raw in placed(text):
            yield f"{name}, as {place}", raw
    for seed in range(BY_CHANCE):
        yield f"by chance, seed {seed}", by_chance(seed)


def part(answers: int, length: int) -> dict[str, object]:
    """A part of a result."""
    return {"answers": ["x" * length] * answers, "isCompleted": True, "score": 82.5}


def update(modules: int, answers: int, length: int) -> bytes:
    """An update as a client means it."""
    stats = [
        {"moduleName": f"Module {n}", "adaptive": part(answers, length), "quiz": part(answers, length)}
        for n in range(modules)
    ]
    return json.dumps({"sessionId": ID.decode(), "moduleStats": stats}).encode()


def main() -> None:
    """Print both tables."""
    print(f"Bodies of {BYTES // 1024} KiB, the worst of each:")
    rows = [(milliseconds(raw, kind), megabytes(raw, kind), name, kind) for name, raw in texts() for kind in KINDS]
    for column in (0, 1):
        rows.sort(key=lambda row: row[column], reverse=True)
        for took, peak, name, kind in rows[:WORST]:
            print(f"  {took:9.1f} ms {peak:7.1f} MB  {name}, {kind.__name__}")
        print()
    print("Good updates:")
    for raw in (update(3, 5, 20), update(200, 5, 100), update(150, 150, 1)):
        timer = timeit.Timer(lambda raw=raw: decode(raw, UpdateSession))
        number, _ = timer.autorange()
        least = min(timer.repeat(7, number)) / number
        print(f"  {len(raw):7,} bytes {least * 1e6:9.1f} µs")


if __name__ == "__main__":
    main()
