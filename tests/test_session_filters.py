"""Lists of sessions: `from`, `to`, `courseId`, `topic`, `isEnd` and `order`."""

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest

from tests.helpers.accounts import Person, make_course
from tests.helpers.assertions import refused
from tests.test_session_batch import item, results, send
from tests.test_session_times import ago, iso


def pages(person: Person, path: str, limit: int, **filters: object) -> list[dict[str, Any]]:
    """Every session of a list, page by page."""
    sessions: list[dict[str, Any]] = []
    target = f"{path}?{urlencode(filters | {'limit': limit})}"
    while True:
        answer = person.get(target)
        assert answer.status_code == 200, answer.text
        sessions += answer.json()
        if "next" not in answer.links:
            return sessions
        target = answer.links["next"]["url"]


@pytest.fixture
def study(alice: Person, tara: Person, course) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Forty sessions on two courses, some with the same start; returns them by start, then id, and the other course."""
    other = make_course(tara)
    items = []
    for number in range(40):
        in_course = other if number % 4 == 0 else course
        start = ago(days=1) + timedelta(minutes=number // 3)
        end = {} if number % 5 == 0 else {"sessionEnd": iso(start + timedelta(minutes=1))}
        topic = in_course["topicsAndModules"][number % 2]["topic"]
        items.append(item(in_course, sessionStart=iso(start), topic=topic, **end))
    assert {each["status"] for each in results(send(alice, *items))} == {201}
    return pages(alice, "/stats/user/sessions", 1000), other


def test_filters_and_order_on_every_page(alice: Person, tara: Person, course, study):
    everything, other = study
    assert len(everything) == 40
    topic = course["topicsAndModules"][1]["topic"]
    middle = everything[20]["sessionStart"]
    filters: list[tuple[dict[str, str], Any]] = [
        ({}, lambda _: True),
        ({"from": middle}, lambda each: each["sessionStart"] >= middle),
        ({"to": middle}, lambda each: each["sessionStart"] < middle),
        (
            {"from": everything[5]["sessionStart"], "to": middle},
            lambda each: everything[5]["sessionStart"] <= each["sessionStart"] < middle,
        ),
        ({"courseId": other["id"].upper()}, lambda each: each["courseId"] == other["id"]),
        ({"topic": f" {topic} "}, lambda each: each["topic"] == topic),
        ({"isEnd": "true"}, lambda each: each["isEnd"]),
        (
            {"isEnd": "false", "courseId": course["id"], "from": everything[3]["sessionStart"]},
            lambda each: (
                not each["isEnd"]
                and each["courseId"] == course["id"]
                and each["sessionStart"] >= everything[3]["sessionStart"]
            ),
        ),
        ({"from": middle, "to": middle}, lambda _: False),
    ]
    for path, person in (("/stats/user/sessions", alice), (f"/stats/users/{alice.id}/sessions", tara)):
        for query, condition in filters:
            expected = [each for each in everything if condition(each)]
            for limit in (1, 7, 1000):
                assert pages(person, path, limit, **query) == expected, query
                assert pages(person, path, limit, **query, order="desc") == expected[::-1], query
                assert pages(person, path, limit, **query, order="asc") == expected


def test_filters_of_a_courses_sessions(alice: Person, charlie: Person, tara: Person, course, study):
    everything, _ = study
    shared = str(uuid4())
    start = everything[9]["sessionStart"]
    for person in (alice, charlie):
        send(person, item(course, sessionId=shared, sessionStart=start))
    path = f"/stats/sessions/{course['id']}"
    expected = pages(tara, path, 1000)
    assert len(expected) == 32
    for limit in (1, 3):
        assert pages(tara, path, limit, order="desc") == expected[::-1]
        assert pages(tara, path, limit, to=start, isEnd="true") == [
            each for each in expected if each["sessionStart"] < start and each["isEnd"]
        ]
    both = [each for each in expected if each["id"] == shared]
    assert pages(tara, f"/stats/sessions/{shared}", 1, order="desc") == both[::-1]
    assert pages(tara, f"/stats/sessions/{shared}", 1, isEnd="true") == []


def test_sessions_that_arrive_while_pages_are_read_disturb_none(alice: Person, course, study):
    everything, _ = study
    read: list[str] = []
    target = "/stats/user/sessions?limit=6"
    while target:
        answer = alice.get(target)
        read += [each["id"] for each in answer.json()]
        send(alice, item(course, sessionStart=everything[0]["sessionStart"]), item(course))
        target = answer.links.get("next", {}).get("url") if len(read) < 200 else None
        if len(read) > 45:
            break
    assert len(set(read)) == len(read)
    assert [id_ for id_ in read if id_ in {each["id"] for each in everything}] == [each["id"] for each in everything]


def test_dates_are_whole_days_in_utc(alice: Person, course):
    def at(text: str) -> str:
        each = item(course, sessionStart=text)
        assert results(send(alice, each))[0]["status"] == 201
        return str(each["sessionId"])

    day = ago(days=3).date()
    last, first = at(f"{day}T23:59:59.999Z"), at(f"{day}T00:00:00Z")
    next_day = datetime.combine(day, datetime.min.time()) + timedelta(days=1)
    at(f"{next_day.date()}T00:00:00Z")
    at(f"{day}T00:30:00+01:00")  # the day before, in UTC
    path = "/stats/user/sessions"
    assert [each["id"] for each in pages(alice, path, 10, **{"from": day, "to": day})] == [first, last]
    assert len(pages(alice, path, 10, **{"from": day})) == 3
    assert len(pages(alice, path, 10, to=day)) == 3


BAD = [
    ("from", "yesterday"),
    ("from", "2026-02-30"),
    ("from", "2026-W48-3"),
    ("to", "2026-11-23T10:00:00"),
    ("to", ""),
    ("courseId", "mathematics"),
    ("courseId", ""),
    ("isEnd", ""),
    ("topic", "x" * 201),
    ("topic", "%00"),
    ("isEnd", "yes"),
    ("order", "up"),
    ("sort", "start"),
]


@pytest.mark.parametrize(("name", "value"), BAD, ids=range(len(BAD)))
def test_refuses_bad_filters(alice: Person, name: str, value: str):
    refused(alice.get(f"/stats/user/sessions?{name}={value}"), 400, "invalid-input", name)


def test_a_date_includes_the_whole_day_even_after_a_time(alice: Person, course):
    noon = ago(days=2).replace(hour=12, minute=0)
    evening = item(course, sessionStart=iso(noon + timedelta(hours=6)))
    assert results(send(alice, evening))[0]["status"] == 201
    found = pages(alice, "/stats/user/sessions", 10, **{"from": iso(noon), "to": noon.date()})
    assert [each["id"] for each in found] == [evening["sessionId"]]
    last = f"{noon.date()}T23:59:59.999Z"
    assert pages(alice, "/stats/user/sessions", 10, **{"from": last, "to": noon.date()}) == []


def test_refuses_from_after_to(alice: Person):
    for query in ("from=2026-11-24&to=2026-11-23", "from=2026-11-23T00:00:01Z&to=2026-11-23T00:00:00Z"):
        refused(alice.get(f"/stats/user/sessions?{query}"), 400, "invalid-input", "to")
    answer = alice.get("/stats/user/sessions?from=x&to=y&isEnd=z&order=w")
    assert [error["field"] for error in answer.json()["errors"]] == ["from", "to", "isEnd", "order"]


def test_a_cursor_belongs_to_its_filters(alice: Person, study):
    answer = alice.get("/stats/user/sessions?limit=1&order=desc")
    target = answer.links["next"]["url"].replace("order=desc", "order=asc")
    refused(alice.get(target), 400, "invalid-input", "cursor")
