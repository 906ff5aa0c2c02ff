"""Measure, and print Markdown: ``python -m bench --help``."""

import argparse
import json
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean
from typing import Any

from bench import machine, pocketbase, report, stage
from bench.report import FLOOR, NO_OP, ONE, POCKETBASE, TWO, UPDATE
from bench.rounds import Contender, Loads, Plan, disturbance, measure
from bench.servers import running_floor, running_seneca
from bench.sizes import measure_names, measure_sizes
from bench.wrk import Failed

BUILD = Path("build")
OPERATIONS = [
    NO_OP,
    "course",
    "statistic of a course",
    "statistic of a learner",
    "start",
    UPDATE,
    "end",
    "list of 30 sessions",
]


def main() -> None:
    """Run the parts that were asked for; a failed measurement is one clear message and exit status 1."""
    options = arguments()
    BUILD.mkdir(exist_ok=True)
    plan = Plan(options.seconds, options.rounds, machine.Patience(options.patience))
    raw: dict[str, Any] = {}
    # On the same disk as a real data directory: /tmp may be memory, where a sync costs nothing.
    with tempfile.TemporaryDirectory(prefix="bench-", dir=BUILD) as name:
        try:
            text = run(options, plan, Path(name), raw)
        except Failed as failure:
            sys.exit(f"bench: {failure}")
    print(text)
    if options.json:
        options.json.write_text(json.dumps(raw, indent=1))
    if options.into:
        insert(options.into, "postgres" if options.postgres else "rivals" if options.rivals else "bench", text)


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Seneca with wrk.")
    parser.add_argument("--rivals", action="store_true", help="set PocketBase beside it, and measure nothing else")
    parser.add_argument("--postgres", action="store_true", help="measure on PostgreSQL, and nothing else")
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this part only (may be repeated)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of all rows; medians are shown (default: 3)")
    parser.add_argument("--seconds", type=int, default=3, help="of each run of wrk (default: 3)")
    parser.add_argument("--largest", type=int, default=10**6, help="the most stored sessions (default: 1000000)")
    parser.add_argument(
        "--patience",
        type=float,
        default=60,
        metavar="SECONDS",
        help="wait so long in all for other processes to leave the machine alone (default: 60)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single number there, too")
    parser.add_argument("--into", type=Path, metavar="FILE", help="replace the results in this page, too")
    return parser.parse_args()


@dataclass
class Results:
    """What was measured: tables to show, targets that were or were not met, every load for the record."""

    tables: list[str]
    targets: list[report.Target]
    loads: Loads
    more: dict[str, Any] = field(default_factory=dict)


def run(options: argparse.Namespace, plan: Plan, directory: Path, raw: dict[str, Any]) -> str:
    """Measure; returns the tables, and leaves every number in ``raw``."""
    if options.postgres or options.rivals:
        parts = {"postgres": on_postgres} if options.postgres else {"rivals": rivals}
    else:
        parts = {part: PARTS[part] for part in options.only or PARTS}
    where = machine.describe(directory)
    results = {part: measure_part(options, plan, directory) for part, measure_part in parts.items()}
    raw |= {part: {"loads": flat(result.loads), **result.more} for part, result in results.items()}
    others = mean(disturbance(result.loads) for result in results.values())
    lines = [
        f"Measured on {datetime.now(UTC).date()}: {where}. Medians of {plan.rounds} rounds of {plan.seconds} s.",
        f"Other processes used {others:.0%} of the machine during the runs.",
        *(table for result in results.values() for table in result.tables),
    ]
    if targets := [target for result in results.values() for target in result.targets]:
        lines.append(report.verdict(targets))
    return "\n\n".join(lines)


def rows(_: argparse.Namespace, plan: Plan, directory: Path) -> Results:
    """Every operation, with one worker and with two, and the floor beside them."""
    with ExitStack() as stack:
        contenders = senecas(stack, directory)
        for workers, name, seneca in ((1, FLOOR[ONE], ONE), (2, FLOOR[TWO], TWO)):
            port = stack.enter_context(running_floor(directory, workers, directory / f"seneca-{workers}" / "seneca.db"))
            operations = contenders[seneca].operations
            contenders[name] = Contender(port, {operation: operations[operation] for operation in (NO_OP, UPDATE)})
        loads = measure(plan, contenders, OPERATIONS)
    return Results([report.throughput(loads, OPERATIONS)], report.throughput_targets(loads), loads)


def sizes(options: argparse.Namespace, plan: Plan, directory: Path) -> Results:
    """Latency, import and start by the number of sessions."""
    numbers = [n for n in (10**2, 10**4) if n < options.largest] + [options.largest]
    loads, imported, firsts = measure_sizes(plan, directory, numbers)
    labels = [f"{n:,}" for n in numbers]
    return Results(
        [report.sizes(loads, labels), report.imports(imported), report.starts(firsts)],
        [*report.size_targets(loads, labels), *report.import_targets(imported), *report.start_targets(firsts)],
        loads,
        {"imports": [asdict(one) for one in imported], "starts": firsts},
    )


def names(_: argparse.Namespace, plan: Plan, directory: Path) -> Results:
    """The course statistic by the number of module names."""
    loads = measure_names(plan, directory, [5, 5000])
    return Results([report.names(loads)], [], loads)


def on_postgres(_: argparse.Namespace, plan: Plan, directory: Path) -> Results:
    """Every operation on PostgreSQL, and the update's statements alone."""
    from bench.postgres import PGBENCH, measure_postgres  # which needs a PostgreSQL

    loads, imported = measure_postgres(plan, directory, OPERATIONS)
    return Results(
        [report.postgres(loads, OPERATIONS, PGBENCH), report.imports([imported])],
        [*report.postgres_targets(loads, PGBENCH), *report.import_targets([imported])[:1]],
        loads,
    )


def rivals(_: argparse.Namespace, plan: Plan, directory: Path) -> Results:
    """Every operation beside PocketBase."""
    program = pocketbase.install(BUILD / "pocketbase")
    operations = [*OPERATIONS, "sign-in"]
    with ExitStack() as stack:
        contenders = senecas(stack, directory)
        port = stack.enter_context(pocketbase.running_pocketbase(program, directory / "pocketbase"))
        contenders[POCKETBASE] = pocketbase.set_up(port)
        loads = measure(plan, contenders, operations)
    return Results([report.rivals(loads, operations)], report.rival_targets(loads, operations), loads)


PARTS = {"rows": rows, "sizes": sizes, "names": names}


def senecas(stack: ExitStack, directory: Path) -> dict[str, Contender]:
    """Seneca with one worker and with two, filled."""
    contenders = {}
    for workers, name in ((1, ONE), (2, TWO)):
        data = directory / f"seneca-{workers}"
        port = stack.enter_context(running_seneca(data, workers))
        contenders[name] = stage.set_up(port, data).contender()
    return contenders


def flat(loads: Loads) -> list[dict[str, Any]]:
    """Every load, for JSON."""
    return [
        {"contender": contender, "operation": operation, "rounds": [asdict(load) for load in seen]}
        for (contender, operation), seen in loads.items()
    ]


def insert(page: Path, mark: str, text: str) -> None:
    """Replace what stands between the marks ``<!-- MARK -->`` and ``<!-- /MARK -->`` of a page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(f"<!-- {mark} -->\n")
    _, end, after = rest.partition(f"<!-- /{mark} -->")
    if not end:
        sys.exit(f"bench: {page} has no place marked {mark}.")
    page.write_text(f"{before}<!-- {mark} -->\n{text}\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
