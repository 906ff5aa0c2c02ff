"""Measure in rounds: each contender in each operation, again and again, so that a noisy minute spoils no single one."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median

from bench.machine import MOST_TAKEN, Patience
from bench.wrk import Load, Request, drive

ATTEMPTS = 3
WARM_UP = 2  # seconds

Prepare = Callable[[], Sequence[Request]]


@dataclass(frozen=True)
class Contender:
    """A running server, and how each operation's requests are made for it (again in each round)."""

    port: int
    operations: Mapping[str, Prepare]


@dataclass(frozen=True)
class Plan:
    """How long, how often, how patiently and on how many connections."""

    seconds: int
    rounds: int
    patience: Patience
    connections: int = 16


Loads = dict[tuple[str, str], list[Load]]
"""Of each contender and operation: one load a round."""


def measure(plan: Plan, contenders: Mapping[str, Contender], operations: Sequence[str]) -> Loads:
    """Warm up, then measure round after round.

    Raises:
        bench.wrk.Failed: an answer was not 2xx or did not come.

    """
    loads: Loads = {}
    for round_ in range(plan.rounds + 1):
        for operation in operations:
            for name, contender in contenders.items():
                if operation not in contender.operations:
                    continue
                if not round_:
                    attempt(plan, contender, operation, WARM_UP)
                    continue
                load = undisturbed(plan, contender, operation)
                others = f"   ({load.others:.0%} taken by others)" if load.others > MOST_TAKEN else ""
                say(f"round {round_}/{plan.rounds}  {name:26} {operation:26} {load.rate:9,.0f}/s{others}")
                loads.setdefault((name, operation), []).append(load)
    return loads


def attempt(plan: Plan, contender: Contender, operation: str, seconds: int) -> Load:
    """One run. Raises bench.wrk.Failed."""
    requests = contender.operations[operation]()
    return drive(contender.port, requests, connections=plan.connections, seconds=seconds)


def undisturbed(plan: Plan, contender: Contender, operation: str) -> Load:
    """A run in which other processes left the machine alone, or the least disturbed of a few. Raises Failed."""
    attempts = [attempt(plan, contender, operation, plan.seconds)]
    while attempts[-1].others > MOST_TAKEN and len(attempts) < ATTEMPTS:
        plan.patience.wait()
        attempts.append(attempt(plan, contender, operation, plan.seconds))
    return min(attempts, key=lambda load: load.others)


def disturbance(loads: Loads) -> float:
    """The mean share of the machine, 0 to 1, that other processes took while it was measured."""
    return mean(load.others for seen in loads.values() for load in seen)


def middle(loads: Sequence[Load]) -> Load:
    """The median of each number over the rounds."""
    return Load(
        *(median(getattr(load, number) for load in loads) for number in ("rate", "p50", "p99", "others")),
    )


def ratio(loads: Sequence[Load], to: Sequence[Load]) -> float:
    """The median over the rounds of one rate to another of the same round."""
    return median(load.rate / other.rate for load, other in zip(loads, to, strict=True))


def slowdown(loads: Sequence[Load], to: Sequence[Load]) -> float:
    """The median over the rounds of one median latency to another of the same round."""
    return median(load.p50 / other.p50 for load, other in zip(loads, to, strict=True))


def say(text: str) -> None:
    """Tell who waits."""
    print(text, file=sys.stderr, flush=True)
