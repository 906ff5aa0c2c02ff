"""Can a stranger tell by the clock whether a name exists? ``python -m bench.guessing``.

Unknown names and wrong passwords are tried in turn, first alone, then while others sign in at half the rate that the
hashing threads can take. The medians of both should be within 3 ms of each other.
"""

import random
import statistics
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

import httpx

from bench.servers import running_seneca

NAMES = 120  # each is tried less often than a name is held for
TRIES = 60  # of each kind
RIGHT, WRONG = "securePassword123", "wrong-password-1"
MANY = {"SENECA_MAX_LOGIN_FAILURES": "1000000", "SENECA_MAX_REGISTRATIONS": "1000000"}


def attempt(client: httpx.Client, name: str, password: str) -> tuple[int, float]:
    """Try a password; returns the status and the milliseconds it took."""
    began = time.perf_counter()
    answer = client.post("/auth/login", json={"username": name, "password": password})
    return answer.status_code, (time.perf_counter() - began) * 1000


def register(url: str) -> list[str]:
    """Learners to guess at; returns their names."""
    names = [f"learner-{number}" for number in range(NAMES)]
    with httpx.Client(base_url=url, timeout=30) as client:
        for name in names:
            body = {"username": name, "email": f"{name}@example.org", "password": RIGHT}
            client.post("/auth/register", json=body).raise_for_status()
    return names


def capacity(url: str, names: list[str]) -> float:
    """How many sign-ins a second succeed with four clients, measured for three seconds."""
    done, stop = [0], time.perf_counter() + 3

    def sign_in() -> None:
        with httpx.Client(base_url=url, timeout=30) as client:
            while time.perf_counter() < stop:
                attempt(client, random.choice(names), RIGHT)
                done[0] += 1

    threads = [threading.Thread(target=sign_in) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done[0] / 3


class Others:
    """Sign-ins at a steady rate, for the length of the block."""

    def __init__(self, url: str, names: list[str], rate: float) -> None:
        self._url, self._names, self._rate = url, names, rate
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(4)]

    def __enter__(self) -> Self:
        for thread in self._threads if self._rate else ():
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads if self._rate else ():
            thread.join()

    def _run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=30) as client, suppress(httpx.TransportError):
            while not self._stop.wait(random.expovariate(self._rate / len(self._threads))):
                attempt(client, random.choice(self._names), RIGHT)


def medians(url: str, names: list[str], start: int) -> tuple[float, float]:
    """The medians for unknown names and for wrong passwords, in milliseconds, tried in turn."""
    unknown, wrong = [], []
    with httpx.Client(base_url=url, timeout=30) as client:
        for number in range(TRIES):
            for took, name in ((unknown, f"nobody-{start}-{number}"), (wrong, names[start + number])):
                status, milliseconds = attempt(client, name, WRONG)
                assert status == 401, status
                took.append(milliseconds)
    return statistics.median(unknown), statistics.median(wrong)


def main() -> None:
    """Measure, and print."""
    with tempfile.TemporaryDirectory() as directory, running_seneca(Path(directory) / "data", 1, **MANY) as port:
        url = f"http://127.0.0.1:{port}"
        names = register(url)
        most = capacity(url, names)
        print(f"sign-ins a second: {most:.0f}")
        for start, rate in ((0, 0.0), (TRIES, most / 2)):
            with Others(url, names, rate):
                unknown, wrong = medians(url, names, start)
            print(
                f"{rate:.0f} others a second: unknown name {unknown:.2f} ms, wrong password {wrong:.2f} ms, "
                f"difference {abs(unknown - wrong):.2f} ms"
            )


if __name__ == "__main__":
    main()
