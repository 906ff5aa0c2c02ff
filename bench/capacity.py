"""How far one file, one PostgreSQL and several servers reach: arithmetic from measured costs and stated assumptions.

``python -m bench.capacity`` prints the tables of docs/scaling.md; ``--into docs/scaling.md`` replaces them. What is measured
comes from ``python -m bench.costs``; what is assumed stands here, to be changed.
"""

import argparse
from dataclasses import dataclass, fields
from pathlib import Path

from bench.report import table

LEARNERS = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)


@dataclass(frozen=True)
class Assumed:
    """How people study. Each field is a row of the table of assumptions."""

    sessions_a_week: float = 3  # of a learner, of three modules each
    weeks_a_year: float = 40
    days_a_week: float = 5  # on which sessions fall evenly
    busiest_hour: float = 0.2  # of a day's sessions
    bell: float = 3  # the busiest seconds, × the mean of that hour
    updates: float = 10  # a session
    statistics: float = 10  # a session: the learner's own
    course_statistics: float = 1  # a session: a course's, by those who teach
    sign_ins: float = 1  # a session
    busy: float = 0.6  # of a core's time, at most, so that requests need not queue for long


SAID = {
    "sessions_a_week": "sessions of a learner in a week, of three modules each",
    "weeks_a_year": "weeks in a year",
    "days_a_week": "days in a week, with as many sessions each",
    "busiest_hour": "of a day's sessions in its busiest hour",
    "bell": "× the mean of that hour in its busiest seconds, when lessons begin",
    "updates": "updates a session, of three modules each; besides a start and an end",
    "statistics": "a session: its learner's own statistics read",
    "course_statistics": "a session: a course's statistics read, by those who teach",
    "sign_ins": "sign-ins a session",
    "busy": "of a core's time used, at most",
}


@dataclass(frozen=True)
class Cost:
    """Of one request: microseconds of processor of Seneca and of PostgreSQL, bytes of PostgreSQL's log."""

    seneca: float
    postgres: float = 0
    log: float = 0


@dataclass(frozen=True)
class Measured:
    """What ``python -m bench.costs`` found on an engine, rounded."""

    session_bytes: float
    learner_bytes: float
    costs: dict[str, Cost]


START, UPDATE, END = "start", "update with three modules", "end"
COURSE, OWN, SIGN_IN = "statistic of a course", "statistic of a learner", "sign-in"
SQLITE = Measured(
    session_bytes=1520,
    learner_bytes=645,
    costs={
        START: Cost(330),
        UPDATE: Cost(380),
        END: Cost(280),
        COURSE: Cost(105),
        OWN: Cost(125),
        SIGN_IN: Cost(22_700),
    },
)
POSTGRES = Measured(
    session_bytes=2030,
    learner_bytes=985,
    costs={
        START: Cost(940, 380, 4600),
        UPDATE: Cost(1080, 555, 4700),
        END: Cost(765, 305, 1200),
        COURSE: Cost(335, 75),
        OWN: Cost(345, 70),
        SIGN_IN: Cost(26_000, 830, 800),
    },
)


@dataclass(frozen=True)
class Load:
    """What this many learners ask for in the busiest seconds, and store in a year."""

    learners: int
    rates: dict[str, float]  # requests a second
    sessions: float  # a year

    @property
    def writes(self) -> float:
        """Starts, updates and ends a second."""
        return self.rates[START] + self.rates[UPDATE] + self.rates[END]

    @property
    def reads(self) -> float:
        """Statistics a second."""
        return self.rates[COURSE] + self.rates[OWN]

    def cores(self, on: Measured, what: str, busy: float, *, only: tuple[str, ...] = ()) -> float:
        """Cores for ``seneca`` or ``postgres``, none of them busier than it may be."""
        took = (rate * getattr(on.costs[name], what) for name, rate in self.rates.items() if not only or name in only)
        return sum(took) / 1e6 / busy

    def log(self, on: Measured) -> float:
        """Bytes of PostgreSQL's log a second."""
        return sum(rate * on.costs[name].log for name, rate in self.rates.items())

    def stored(self, on: Measured) -> float:
        """Bytes after a year."""
        return self.learners * on.learner_bytes + self.sessions * on.session_bytes


def load_of(learners: int, assumed: Assumed) -> Load:
    """The busiest seconds of this many learners."""
    day = learners * assumed.sessions_a_week / assumed.days_a_week
    sessions = day * assumed.busiest_hour / 3600 * assumed.bell
    each = {
        START: 1,
        UPDATE: assumed.updates,
        END: 1,
        COURSE: assumed.course_statistics,
        OWN: assumed.statistics,
        SIGN_IN: assumed.sign_ins,
    }
    rates = {name: sessions * count for name, count in each.items()}
    return Load(learners, rates, learners * assumed.sessions_a_week * assumed.weeks_a_year)


def tables(assumed: Assumed) -> str:
    """The assumptions, the costs, and what follows, as Markdown."""
    loads = [load_of(learners, assumed) for learners in LEARNERS]
    assumptions = [[f"{getattr(assumed, field.name):g}", SAID[field.name]] for field in fields(assumed)]
    costs = [
        [name, f"{SQLITE.costs[name].seneca:,.0f}", f"{cost.seneca:,.0f}", f"{cost.postgres:,.0f}", f"{cost.log:,.0f}"]
        for name, cost in POSTGRES.costs.items()
    ]
    rows = [
        [
            f"{load.learners:,}",
            *(number(rate) for rate in (load.rates[START], load.rates[UPDATE], load.reads, load.rates[SIGN_IN])),
        ]
        for load in loads
    ]
    needed = [
        [
            f"{load.learners:,}",
            number(load.cores(SQLITE, "seneca", assumed.busy)),
            number(load.cores(SQLITE, "seneca", assumed.busy, only=(START, UPDATE, END))),
            size(load.stored(SQLITE)),
            number(load.cores(POSTGRES, "seneca", assumed.busy)),
            number(load.cores(POSTGRES, "postgres", assumed.busy)),
            f"{size(load.log(POSTGRES))}/s",
            size(load.stored(POSTGRES)),
        ]
        for load in loads
    ]
    stored = [
        ["a session of three modules", f"{SQLITE.session_bytes:,.0f}", f"{POSTGRES.session_bytes:,.0f}"],
        ["a learner without any", f"{SQLITE.learner_bytes:,.0f}", f"{POSTGRES.learner_bytes:,.0f}"],
    ]
    return "\n\n".join(
        [
            "Measured:",
            table(["µs of processor", "SQLite", "PostgreSQL: Seneca", "PostgreSQL itself", "bytes of its log"], costs),
            table(["bytes stored", "SQLite", "PostgreSQL"], stored),
            "Assumed:",
            table(["", "what"], assumptions),
            "Computed, of the busiest seconds:",
            table(
                [
                    "learners",
                    "starts a second, and ends",
                    "updates a second",
                    "statistics a second",
                    "sign-ins a second",
                ],
                rows,
            ),
            table(
                [
                    "learners",
                    "SQLite: cores",
                    "of them for writes",
                    "SQLite: after a year",
                    "PostgreSQL: cores of Seneca",
                    "cores of PostgreSQL",
                    "its log",
                    "PostgreSQL: after a year",
                ],
                needed,
            ),
        ]
    )


def number(value: float) -> str:
    """Two digits, or all of a whole number."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def size(value: float) -> str:
    """Bytes, with three digits at most."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{number(value)} {unit}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.capacity", description="Compute what how many learners take."
    )
    parser.add_argument("--into", type=Path, metavar="FILE", help="replace the tables in this page, too")
    options = parser.parse_args()
    text = tables(Assumed())
    print(text)
    if options.into:
        from bench.__main__ import insert

        insert(options.into, "capacity", text)


if __name__ == "__main__":
    main()
