"""What a stranger's JSON may cost: time and memory in proportion to the body, whatever its shape, and a small answer."""

import itertools
import json
import tracemalloc
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seneca.accounts.registration import Registration
from seneca.common import lenient_json
from seneca.common.json_decoding import convert, decode
from seneca.courses import NewCourse
from seneca.errors import ApiError, InvalidInput, MalformedJson
from seneca.exchange.records import read
from seneca.exchange.session_lines import Target
from seneca.sessions.requests import UpdateSession
from seneca.sessions.results import parse_results
from tests.helpers.hostile_json import ID, by_chance, placed, shapes

pytestmark = pytest.mark.no_database

KINDS = [Registration, UpdateSession, NewCourse]
SMALL = 32 * 1024
BYTES_EACH = 80
"""Of memory for each byte of a body: 20 MB at 256 KiB."""


def error_of(raw: bytes, kind: type[Any]) -> ApiError | None:
    try:
        decode(raw, kind)
    except ApiError as error:
        return error
    return None


def peak_of(raw: bytes, kind: type[Any]) -> int:
    tracemalloc.start()
    try:
        error_of(raw, kind)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def bodies(size: int) -> Iterator[bytes]:
    for _, text in shapes(size):
        yield from (raw for _, raw in placed(text))


def test_memory_is_in_proportion_to_the_body():
    for (name, text), kind in itertools.product(shapes(SMALL), KINDS):
        # the least of three: Python's own tables grow now and then, and what is remembered of a type is not the body's
        peak = min(peak_of(text, kind) for _ in range(3))
        assert peak < 100_000 + BYTES_EACH * len(text), (name, kind, peak)


def test_the_error_of_a_hostile_import_line_is_short():
    line = b'\xef\xbb\xbf{"' + b"k" * 2_000_000 + "😀".encode() + b'":[' + b"1," * 1_000_000 + b"NaN]}"
    for raw in (line, line[3:], b"[" + b"{}," * 1_300_000 + b"NaN]"):
        with pytest.raises(ApiError) as caught:
            read(raw, 1, Target(64, 300_000, ZoneInfo("UTC")))
        assert len(caught.value.detail) < 1000


def assert_small(error: ApiError | None) -> None:
    if error is not None:
        assert error.status == 400
        assert isinstance(error, MalformedJson | InvalidInput)
        assert len(msgspec.json.encode(error.members)) < 20 * 1024
        assert len(error.detail) < 20 * 1024
        assert len(getattr(error, "errors", ())) <= 20


def test_an_answer_is_small_whatever_was_sent():
    for raw, kind in itertools.product(bodies(SMALL), KINDS):
        assert_small(error_of(raw, kind))


@given(st.integers(0, 2**64), st.sampled_from(KINDS))
@settings(max_examples=200)
def test_bodies_of_any_shape_are_refused_in_small_answers(seed: int, kind: type[Any]):
    assert_small(error_of(by_chance(seed, SMALL), kind))


# -- every problem, in the order of the body ---------------------------------------------------


def problems(raw: bytes | object, kind: type[Any]) -> list[str]:
    """``field: rule`` of each."""
    error = error_of(raw if isinstance(raw, bytes) else json.dumps(raw).encode(), kind)
    assert isinstance(error, InvalidInput), error
    return [f"{each.field}: {each.message}" for each in error.errors]


def fields(raw: bytes | object, kind: type[Any]) -> list[str]:
    return [problem.partition(": ")[0] for problem in problems(raw, kind)]


def update(*modules: object) -> dict[str, object]:
    return {"sessionId": ID.decode(), "moduleStats": list(modules)}


def module(name: object, **quiz: object) -> dict[str, object]:
    return {"moduleName": name, "quiz": quiz}


def test_a_bad_address_and_a_short_password_are_both_named():
    assert problems({"password": "short", "email": "nobody", "username": "zoe"}, Registration) == [
        "password: must have at least 8 characters",
        "email: must be an email address: An email address must have an @-sign.",
    ]
    body = {"email": "nobody", "password": "password1", "username": "\u3164", "extra": 1, "role": "boss"}
    assert fields(body, Registration) == ["email", "password", "username", "extra", "role"]
    del body["extra"], body["role"]
    assert fields(body, Registration) == ["email", "password", "username"]


def test_every_module_and_every_kind_of_rule_is_named_in_the_order_of_the_body():
    body = update(
        module("", score="1"),
        module("A"),
        7,
        module(" A ", score=2_000_000, answers=["", 1]),
        {"quiz": {"x": 1}, "adaptive": [1]},
    )
    assert fields(body, UpdateSession) == [
        "moduleStats[0].moduleName",
        "moduleStats[0].quiz.score",
        "moduleStats[2]",
        "moduleStats[3].moduleName",
        "moduleStats[3].quiz.score",
        "moduleStats[3].quiz.answers[1]",
        "moduleStats[4].quiz.x",
        "moduleStats[4].adaptive",
        "moduleStats[4].moduleName",
    ]


def test_at_most_twenty_are_named_and_they_are_the_first():
    assert fields(update(*[7] * 200), UpdateSession) == [f"moduleStats[{n}]" for n in range(20)]
    assert fields({f"x{n}": n for n in range(5000)}, UpdateSession) == [f"x{n}" for n in range(20)]
    assert fields(update(*[module("M", score=10**7)] * 50), UpdateSession)[:3] == [
        "moduleStats[0].quiz.score",
        "moduleStats[1].moduleName",
        "moduleStats[1].quiz.score",
    ]


def test_members_given_twice_are_named():
    raw = b'{"sessionId":"%b","sessionId":"%b","moduleStats":[{"moduleName":"M","quiz":{"score":1,"\\u0073core":2}}]}'
    assert problems(raw % (ID, ID), UpdateSession) == [
        "sessionId: must not be repeated",
        "moduleStats[0].quiz.score: must not be repeated",
    ]
    assert problems(
        b'{"username":"zoe","email":"z@x.org","password":"securePassword123","role":"admin","role":"user"}',
        Registration,
    ) == ["role: must not be repeated"]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (b"NaN", "must be a finite number, not NaN"),
        (b"-Infinity", "must be a finite number, not -Infinity"),
        (b"1e400", "must be from -1,000,000 to 1,000,000"),
        (b"7" * 5000, "must be from -1,000,000 to 1,000,000"),
        (b"1000000.0000000000000000000001", "must be from -1,000,000 to 1,000,000"),
        (b'"5"', "must be a number"),
        (b"true", "must be a number"),
        (b"null", "must be a number"),
        (b"[]", "must be a number"),
        (b'"\\ud800"', "must not contain lone surrogates"),
        (b'"\\u0000"', "must not contain the character NUL"),
    ],
)
def test_what_cannot_be_summed_is_refused_by_its_field(text: bytes, rule: str):
    raw = b'{"sessionId":"%b","moduleStats":[{"moduleName":"M","quiz":{"score":%b}}]}' % (ID, text)
    assert problems(raw, UpdateSession) == [f"moduleStats[0].quiz.score: {rule}"]


def test_names_and_texts_of_the_client_are_cut():
    [problem] = problems({"n" * 250_000: 1} | update(module("M")), UpdateSession)
    assert len(problem) < 300
    problem = problems(
        {"username": "u", "email": "e@x.org", "password": "securePassword123", "role": "r" * 250_000}, Registration
    )[0]
    assert problem == "role: must be one of user, admin"


def test_a_byte_order_mark_is_said_to_be_one():
    with pytest.raises(MalformedJson, match="byte order mark"):
        decode(b"\xef\xbb\xbf{}", UpdateSession)


VALID = update(
    {"moduleName": "M", "adaptive": {"answers": ["A"], "isCompleted": True, "score": 1}},
    {"moduleName": "N", "quiz": {"answers": ["B", "C"], "score": 2}, "wrongAnswers": None},
)
BAD = [None, 7, "", [], {}, "x" * 201, [None], {"x": 1}, True]


def places(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield (*path, key)
        yield from places(entry, (*path, key))


@given(st.lists(st.tuples(st.sampled_from(list(places(VALID))), st.sampled_from(BAD)), max_size=4))
def test_what_is_found_is_what_the_type_refuses(changes: list[tuple[tuple[str | int, ...], object]]):
    body = json.loads(json.dumps(VALID))
    for path, bad in changes:
        place: Any = body
        try:
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = json.loads(json.dumps(bad))
        except (TypeError, KeyError, IndexError):
            continue
    raw = json.dumps(body).encode()
    try:
        first = msgspec.json.decode(raw, type=UpdateSession)
    except msgspec.ValidationError as error:
        path = str(error).partition("$.")[2].removesuffix("`")
        assert any(field.startswith(path.partition(".")[0]) for field in fields(raw, UpdateSession)), (path, body)
    else:
        error = error_of(raw, UpdateSession)
        assert error is None or list(first.find_errors())


# -- what is accepted --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("literal", "stored"),
    [
        (b"66.66666666666667", Decimal("66.667")),
        (b"0.0005", 0),
        (b"0.0015", Decimal("0.002")),
        (b"2.5000000000000000000000000000000000001e-3", Decimal("0.003")),
        (b"0.0025", Decimal("0.002")),
        (b"-33.333333333333336", Decimal("-33.333")),
        (b"999999.9999", 1_000_000),
        (b"82.0000", 82),
        (b"1e-400", 0),
    ],
)
def test_scores_are_rounded_half_to_even_from_their_text(literal: bytes, stored: object):
    raw = b'{"sessionId":"%b","moduleStats":[{"moduleName":"M","quiz":{"score":%b}}]}' % (ID, literal)
    [result] = parse_results(decode(raw, UpdateSession).module_stats)
    assert result.quiz is not None
    assert json.loads(result.quiz, parse_float=Decimal)["score"] == stored
    assert result.quiz_score == Decimal(stored) * 1000


def test_answers_have_up_to_ten_thousand_characters():
    decode(json.dumps(update(module("M", answers=["é" * 10_000]))).encode(), UpdateSession)
    assert fields(update(module("M", answers=["x" * 10_001])), UpdateSession) == ["moduleStats[0].quiz.answers[0]"]
    assert fields(update(module("M", answers=["x"] * 501)), UpdateSession) == ["moduleStats[0].quiz.answers"]


def test_ids_are_36_characters_in_any_case():
    assert decode(json.dumps(update(module("M")) | {"sessionId": ID.decode().upper()}).encode(), UpdateSession)
    short = ID.decode().replace("-", "")
    assert problems(update(module("M")) | {"sessionId": short}, UpdateSession) == ["sessionId: must be a UUID"]


def test_values_that_did_not_come_as_json_are_checked_alike():
    with pytest.raises(InvalidInput) as caught:
        convert({"username": "a b", "email": "nobody", "password": "securePassword123"}, Registration)
    assert [error.field for error in caught.value.errors] == ["username", "email"]


# -- repeated names, without a second parse ----------------------------------------------------


class Pairs(list[tuple[str, object]]):
    """An object as it is written: names may repeat."""


TEXTS = st.text(st.sampled_from('a":\\ \t{}[],1é'), max_size=6)
VALUES = st.recursive(
    st.none() | st.integers(0, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(TEXTS, inner), max_size=3).map(Pairs),
    max_leaves=12,
)


def escaped(text: str) -> str:
    """A JSON string in which every character is a number."""
    return '"' + "".join(f"\\u{ord(character):04x}" for character in text) + '"'


def written(value: object, space: str, string: Callable[[str], str]) -> str:
    if isinstance(value, Pairs):
        members = (f"{string(name)}{space}:{space}{written(member, space, string)}" for name, member in value)
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(written(entry, space, string) for entry in value) + "]"
    return string(value) if isinstance(value, str) else json.dumps(value)


@given(VALUES, st.sampled_from(["", " ", "\n\t"]), st.sampled_from([json.dumps, escaped]))
def test_no_repeated_name_is_missed(value: object, space: str, string: Callable[[str], str]):
    raw = written(value, space, string).encode()
    if lenient_json.parse(raw).has_repeated_names:
        assert lenient_json.may_repeat_names(raw)


def test_escaped_quotes_do_not_hide_a_repeated_name():
    assert lenient_json.may_repeat_names(rb'{"a": "\u0022\u0022", "b": "", "b": ""}')
    assert lenient_json.may_repeat_names(rb'{"a": "\u0022:", "b": 1, "b": 2}')


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a": [{"b": 1, "c": "d, e"}, {"b": 2}], "f" : {}}',
        rb'{"a": "a line\n and \"b\": quoted", "b": "caf\u00e9 \\\""}',
    ],
)
def test_ordinary_texts_need_no_second_parse(raw: bytes):
    assert not lenient_json.may_repeat_names(raw)
