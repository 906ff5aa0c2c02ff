"""The tables, in Markdown: ratios first, since they outlive the machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.pocketbase import EQUIVALENTS
from bench.rounds import Loads, middle, ratio, slowdown
from bench.sizes import READ, WRITE, Imported

ONE, TWO = "one worker", "two workers"
FLOOR = {ONE: "bare Litestar, one worker", TWO: "bare Litestar, two workers"}
NO_OP = "no-op"
UPDATE = "update with three modules"
POCKETBASE = "PocketBase"
MOST_SLOWDOWN = 1.2
LEAST_IMPORTED = 10_000  # sessions a second
MOST_RESIDENT = 200  # MiB
MOST_START = 1000  # milliseconds


@dataclass(frozen=True)
class Target:
    """What was to be reached, and what was."""

    what: str
    wanted: str
    reached: str
    met: bool


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all but the first column to the right."""
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def throughput(loads: Loads, operations: Sequence[str]) -> str:
    """Each operation: of the no-op of the same round and as many workers; a second; median and 99th percentile."""
    head = ["16 connections"]
    for workers in (ONE, TWO):
        head += [f"{workers}: of no-op", "requests/s", "p50 ms", "p99 ms"]
    floors = [("bare Litestar no-op", FLOOR, NO_OP), ("bare Litestar, the sketch of an update", FLOOR, UPDATE)]
    names = [
        *(floor for floor in floors if (FLOOR[ONE], NO_OP) in loads),
        *((name, {ONE: ONE, TWO: TWO}, name) for name in operations),
    ]
    rows = []
    for label, contenders, operation in names:
        row = [label]
        for workers in (ONE, TWO):
            seen = loads[contenders[workers], operation]
            load = middle(seen)
            share = ratio(seen, loads[workers, NO_OP])
            row += [f"**{share:.2f}**", f"{load.rate:,.0f}", f"{load.p50:.2f}", f"{load.p99:.2f}"]
        rows.append(row)
    return table(head, rows)


def throughput_targets(loads: Loads) -> list[Target]:
    """What the throughput was to be, as ratios."""
    wanted = [
        (NO_OP, FLOOR, ONE, 0.8, "bare Litestar"),
        (NO_OP, FLOOR, TWO, 0.8, "bare Litestar"),
        ("statistic of a course", {}, ONE, 0.36, NO_OP),
        ("statistic of a course", {}, TWO, 0.5, NO_OP),
        ("statistic of a learner", {}, ONE, 0.36, NO_OP),
        ("statistic of a learner", {}, TWO, 0.5, NO_OP),
        (UPDATE, {}, ONE, 0.27, NO_OP),
    ]
    targets = []
    for operation, others, workers, least, of in wanted:
        reached = ratio(loads[workers, operation], loads[others.get(workers, workers), NO_OP])
        targets.append(Target(f"{operation}, {workers}", f"≥ {least} of {of}", f"{reached:.2f}", reached >= least))
    return targets


def postgres(loads: Loads, operations: Sequence[str], limit: str) -> str:
    """The same table on PostgreSQL, and the limit of updates."""
    head = [limit, "updates/s", "one worker: of it", "two workers: of it"]
    seen = loads[limit, UPDATE]
    shares = [f"**{ratio(loads[workers, UPDATE], seen):.2f}**" for workers in (ONE, TWO)]
    return f"{throughput(loads, operations)}\n\n{table(head, [['16 clients', f'{middle(seen).rate:,.0f}', *shares]])}"


def postgres_targets(loads: Loads, limit: str) -> list[Target]:
    """What was to be reached with two workers."""
    wanted = [
        (UPDATE, loads[limit, UPDATE], 0.3, limit),
        ("statistic of a course", loads[TWO, NO_OP], 0.2, NO_OP),
        ("statistic of a learner", loads[TWO, NO_OP], 0.2, NO_OP),
    ]
    targets = []
    for operation, seen, least, of in wanted:
        reached = ratio(loads[TWO, operation], seen)
        targets.append(Target(f"{operation}, {TWO}", f"≥ {least} of {of}", f"{reached:.2f}", reached >= least))
    return targets


def sizes(loads: Loads, sizes: Sequence[str]) -> str:
    """Latency by the number of stored sessions, as a multiple of that with the fewest."""
    head = ["sessions of the course", *(f"{what}: × | p50 ms | p99 ms" for what in (READ, WRITE))]
    rows = []
    for size in sizes:
        row = [size]
        for operation in (READ, WRITE):
            seen = loads[size, operation]
            load = middle(seen)
            row += [f"**{slowdown(seen, loads[sizes[0], operation]):.2f}**", f"{load.p50:.3f}", f"{load.p99:.3f}"]
        rows.append(row)
    return table(" | ".join(head).split(" | "), rows)


def size_targets(loads: Loads, sizes: Sequence[str]) -> list[Target]:
    """With the most sessions stored, at most this many times the latency with the fewest."""
    targets = []
    for operation in (READ, WRITE):
        reached = slowdown(loads[sizes[-1], operation], loads[sizes[0], operation])
        what = f"{operation}, latency at {sizes[-1]} sessions"
        wanted = f"≤ {MOST_SLOWDOWN} × that at {sizes[0]}"
        targets.append(Target(what, wanted, f"{reached:.2f}", reached <= MOST_SLOWDOWN))
    return targets


def names(loads: Loads) -> str:
    """The course statistic by the number of module names, as a multiple of that with the fewest."""
    contenders = [contender for contender, _ in loads]
    rows = []
    for contender in contenders:
        seen = loads[contender, READ]
        load = middle(seen)
        times = slowdown(seen, loads[contenders[0], READ])
        rows.append([contender, f"**{times:.2f}**", f"{load.p50:.3f}", f"{load.p99:.3f}"])
    return table(["statistic of a course with", "×", "p50 ms", "p99 ms"], rows)


def imports(imported: Sequence[Imported]) -> str:
    """Each import's rate and memory."""
    head = ["import of sessions", "a second", "a second of processor", "MiB resident, at most", "taken by others"]
    rows = [
        [
            f"{one.sessions:,}",
            f"{one.rate:,.0f}",
            f"{one.sessions / one.processor:,.0f}",
            f"{one.mebibytes:.0f}",
            f"{one.others:.0%}",
        ]
        for one in imported
    ]
    return table(head, rows)


def import_targets(imported: Sequence[Imported]) -> list[Target]:
    """Fast enough and small enough, from 10⁴ sessions on (below, it is the command's own start that is seen)."""
    targets = []
    for one in imported:
        if one.sessions >= LEAST_IMPORTED:
            what = f"import of {one.sessions:,} sessions"
            rate, size = one.rate, one.mebibytes
            targets += [
                Target(what, f"≥ {LEAST_IMPORTED:,} a second", f"{rate:,.0f}", rate >= LEAST_IMPORTED),
                Target(what, f"≤ {MOST_RESIDENT} MiB", f"{size:.0f}", size <= MOST_RESIDENT),
            ]
    return targets


def starts(firsts: Mapping[str, float]) -> str:
    """The time from start to first answer."""
    return table(["start to first answer, database", "ms"], [[what, f"{took:.0f}"] for what, took in firsts.items()])


def start_targets(firsts: Mapping[str, float]) -> list[Target]:
    """Soon enough."""
    return [
        Target(f"start to first answer, database: {what}", f"< {MOST_START} ms", f"{took:.0f}", took < MOST_START)
        for what, took in firsts.items()
    ]


def rivals(loads: Loads, operations: Sequence[str]) -> str:
    """Each operation beside PocketBase's nearest equivalent: how many times its rate; rates and tails."""
    head = ["16 connections", "PocketBase's equivalent", "one worker: ×", "two workers: ×"]
    head += [f"{who}: {what}" for who in (POCKETBASE, ONE, TWO) for what in ("requests/s", "p99 ms")]
    rows = []
    for operation in operations:
        rival = loads[POCKETBASE, operation]
        row = [operation, EQUIVALENTS[operation]]
        row += [f"**{ratio(loads[workers, operation], rival):.1f}**" for workers in (ONE, TWO)]
        for contender in (POCKETBASE, ONE, TWO):
            load = middle(loads[contender, operation])
            row += [f"{load.rate:,.0f}", f"{load.p99:.2f}"]
        rows.append(row)
    return table(head, rows)


def rival_targets(loads: Loads, operations: Sequence[str]) -> list[Target]:
    """Ahead in every row, the no-op apart: nobody asks for that."""
    targets = []
    for operation in operations:
        if operation == NO_OP:
            continue
        for workers in (ONE, TWO):
            reached = ratio(loads[workers, operation], loads[POCKETBASE, operation])
            targets.append(Target(f"{operation}, {workers}", "ahead of PocketBase", f"{reached:.1f}", reached > 1))
    return targets


def verdict(targets: Sequence[Target]) -> str:
    """Every target, and whether it was met."""
    rows = [[target.what, target.wanted, target.reached, "yes" if target.met else "**no**"] for target in targets]
    return table(["target", "wanted", "reached", "met"], rows)
