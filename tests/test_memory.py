"""What a process remembers of a database: at most a number of bytes, and never an older version."""

from collections.abc import Callable, Hashable
from threading import Thread

import pytest

from seneca.database.cache import Cache

pytestmark = pytest.mark.no_database


def reader(*texts: str) -> Callable[[], list[str]]:
    return lambda: list(texts)


def never() -> list[str]:
    raise AssertionError("it is remembered")


def recall(cache: Cache, key: Hashable, version: Hashable, read: Callable[[], list[str]]) -> list[str]:
    """The list as a statistic gets it: remembered, or read and kept."""
    texts = cache.get(key, version)
    if texts is None:
        texts = read()
        cache.put(key, version, texts)
    return texts


def test_a_list_is_read_once_for_each_version():
    cache = Cache()
    assert recall(cache, "course", 1, reader("A")) == ["A"]
    assert recall(cache, "course", 1, never) == ["A"]
    assert recall(cache, "course", 2, reader("A", "B")) == ["A", "B"]
    assert cache.get("course", 1) is None


def test_a_list_that_takes_the_place_of_another_is_not_counted_beside_it():
    cache = Cache()
    recall(cache, "other", 1, reader("kept"))
    recall(cache, "course", 0, reader(*(f"name {n}" for n in range(1000))))
    once = cache.bytes
    for version in range(1, 1000):
        recall(cache, "course", version, reader(*(f"name {n}" for n in range(1000))))
        assert cache.bytes == once
    assert recall(cache, "other", 1, never) == ["kept"]


def test_what_was_not_used_for_the_longest_time_is_dropped_first():
    cache = Cache(max_bytes=40_000)
    for key in ("first", "second", "third"):
        recall(cache, key, 1, reader("x" * 10_000))
    recall(cache, "first", 1, never)
    recall(cache, "fourth", 1, reader("x" * 10_000))
    assert [cache.get(key, 1) is not None for key in ("first", "second", "third", "fourth")] == [
        True,
        False,
        True,
        True,
    ]
    assert cache.bytes <= 40_000


def test_a_list_that_is_larger_than_all_may_be_drops_no_other():
    cache = Cache(max_bytes=10_000)
    recall(cache, "small", 1, reader("x"))
    before = cache.bytes
    assert recall(cache, "large", 1, reader("🎓" * 10_000)) == ["🎓" * 10_000]
    assert cache.get("large", 1) is None
    assert recall(cache, "small", 1, never) == ["x"]
    assert cache.bytes == before


def test_threads_do_not_confuse_the_count():
    cache = Cache(max_bytes=20_000)

    def work(seed: int) -> None:
        for n in range(2000):
            recall(cache, (seed + n) % 7, n % 5, reader("x" * (n % 4000)))

    threads = [Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0 <= cache.bytes <= 20_000
    for key in range(7):
        cache.put(key, "last", ["x" * 30_000])  # none of it fits, so nothing is left
    assert cache.bytes == 0
