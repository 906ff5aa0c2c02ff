"""Units: times, scores, identifiers, names, and how they are written."""

import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seneca.common import scores, text_types
from seneca.common.ids import bucket_of, new_id, parse_uuid
from seneca.common.times import EARLIEST_MS, LATEST_MS, from_iso, to_iso, to_ms
from seneca.http.responses import encode

pytestmark = pytest.mark.no_database  # it asks none

MOMENTS = st.integers(EARLIEST_MS, LATEST_MS)


@pytest.mark.parametrize(
    ("milliseconds", "iso"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_795_441_375_919, "2026-11-23T13:42:55.919Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (EARLIEST_MS, "0001-01-01T00:00:00.000Z"),
        (LATEST_MS, "9999-12-31T23:59:59.999Z"),
        (1_000, "1970-01-01T00:00:01.000Z"),
        (1_010, "1970-01-01T00:00:01.010Z"),
    ],
)
def test_iso(milliseconds: int, iso: str):
    assert to_iso(milliseconds) == iso
    assert from_iso(iso) == milliseconds


@given(MOMENTS)
def test_iso_and_back(milliseconds: int):
    written = to_iso(milliseconds)
    assert len(written) == 24
    assert to_ms(datetime.fromisoformat(written)) == milliseconds
    assert from_iso(written) == milliseconds


@given(MOMENTS, MOMENTS)
def test_iso_sorts_as_time_does(one: int, other: int):
    assert (to_iso(one) < to_iso(other)) == (one < other)


def test_milliseconds_are_cut_and_zones_heeded():
    assert to_ms(datetime(1970, 1, 1, microsecond=1_999, tzinfo=UTC)) == 1
    assert to_ms(datetime(1970, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))) == 0


@pytest.mark.parametrize(
    ("iso", "milliseconds"),
    [
        ("1970-01-01T02:00:00+02:00", 0),
        ("1970-01-01T00:00Z", 0),
        ("1970-01-01T00:00:00.5Z", 500),
        ("1970-01-01T00:00:00.001000Z", 1),
        ("1970-01-01T00:00:00.0019999Z", 1),
        ("1970-01-01T00:00:00,001999999999999999999999999999999999999999Z", 1),
        ("1969-12-31T23:59:59.9999999Z", -1),
        ("1970-01-01T01:30:00.123456789+01:30", 123),
        ("1969-12-31T19:00:00.5-05", 500),
        ("1970-01-01T05:45:00+0545", 0),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000),
    ],
)
def test_from_iso(iso: str, milliseconds: int):
    assert from_iso(iso) == milliseconds


@pytest.mark.parametrize(
    "iso",
    [
        "",
        "now",
        "1970-01-01",
        "1970-01-01T00:00:00",
        "1970-01-01 00:00:00Z",
        "2023-02-29T00:00:00Z",
        "1970-01-01T25:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "٢٠٢٦-11-23T13:42:55Z",
        "1970-01-01T00:00:00Z\n",
    ],
)
def test_from_iso_refuses(iso: str):
    with pytest.raises(ValueError, match="must"):
        from_iso(iso)


# -- scores ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("score", "thousandths"),
    [
        (0, 0),
        (78, 78_000),
        (-5, -5_000),
        (1_000_000, 1_000_000_000),
        (-1_000_000, -1_000_000_000),
        (Decimal("74.5"), 74_500),
        (Decimal("0.001"), 1),
        (Decimal("-0.001"), -1),
        (Decimal("-0.0"), 0),
        (Decimal("0.1000000"), 100),
        (Decimal("1e6"), 1_000_000_000),
        (Decimal("1E-3"), 1),
        (Decimal("0e-99999"), 0),
        (Decimal("0e999999"), 0),
        (Decimal("999999.999"), 999_999_999),
        (Decimal("66.66666666666667"), 66_667),
        (Decimal("0.0005"), 0),
        (Decimal("0.0015"), 2),
        (Decimal("-0.0025"), -2),
        (Decimal("0.00050000000000000000000000000000000000000001"), 1),
        (Decimal("1e-999999"), 0),
        (Decimal("0." + "0" * 5000 + "1"), 0),
        (Decimal("1." + "3" * 5000), 1333),
    ],
)
def test_thousandths(score: object, thousandths: int):
    assert scores.to_thousandths(score) == thousandths


@pytest.mark.parametrize(
    "score",
    [
        1_000_001,
        -1_000_001,
        10**30,
        Decimal("1000000.001"),
        Decimal("1e400"),
        Decimal("-1e999999"),
        Decimal("1000000.0000000000000000000000000001"),
        "5",
        True,
        False,
        None,
        5.0,
        [],
    ],
)
def test_thousandths_refuses(score: object):
    with pytest.raises(ValueError, match="must"):
        scores.to_thousandths(score)


@given(st.integers(-(10**15), 10**15))
def test_points_are_exact_and_whole_where_whole(thousandths: int):
    shown = scores.to_points(thousandths)
    assert Fraction(shown) == Fraction(thousandths, 1000)
    assert isinstance(shown, int) == (thousandths % 1000 == 0)
    assert Fraction(encode(shown).decode()) == Fraction(thousandths, 1000)


@pytest.mark.parametrize(
    ("thousandths", "written"),
    [
        (82_000, b"82"),
        (0, b"0"),
        (152_500, b"152.5"),
        (1, b"0.001"),
        (-1, b"-0.001"),
        (-152_500, b"-152.5"),
        (10, b"0.01"),
    ],
)
def test_points_as_json(thousandths: int, written: bytes):
    assert encode(scores.to_points(thousandths)) == written


@given(st.integers(-(10**15), 10**15), st.integers(1, 10**9))
def test_the_mean_is_the_double_nearest_to_the_exact_value(thousandths: int, results: int):
    shown = scores.mean(thousandths, results)
    assert shown == float(Fraction(thousandths, 2000 * results))
    assert isinstance(shown, int) == float(shown).is_integer()


def test_the_mean_of_nothing_is_zero():
    assert encode(scores.mean(0, 0)) == b"0"
    assert encode(scores.mean(397_000, 5)) == b"39.7"
    assert encode(scores.mean(400_000, 5)) == b"40"
    assert encode(scores.mean(-1, 1)) == b"-0.0005"


# -- identifiers -------------------------------------------------------------------------------


def test_new_ids_are_uuids_of_version_7_that_sort_by_creation():
    ids = [new_id() for _ in range(1000)]
    assert sorted(set(ids)) == ids
    assert all(id_[14] == "7" and id_[19] in "89ab" and parse_uuid(id_) == id_ for id_ in ids)


@given(st.uuids())
def test_identifiers_have_one_stored_form(uuid):
    assert parse_uuid(str(uuid)) == parse_uuid(str(uuid).upper()) == str(uuid)


@pytest.mark.parametrize(
    "no_id",
    [
        "",
        "1",
        "f0e1c82a6c234b7fb2a735776e22fc3f",
        "{f0e1c82a-6c23-4b7f-b2a7-35776e22fc3f}",
        "urn:uuid:f0e1c82a-6c23-4b7f-b2a7-35776e22fc3f",
        "f0e1c82a-6c23-4b7f-b2a7-35776e22fc3f\n",
        " f0e1c82a-6c23-4b7f-b2a7-35776e22fc3f",
        "g0e1c82a-6c23-4b7f-b2a7-35776e22fc3f",
        "f0e1c82a-6c23-4b7f-b2a7-35776e22fc3٣",
        "f0e1c82a-6c23-4b7f-b2a735776e22fc3f-",
    ],
)
def test_what_is_no_identifier(no_id: str):
    assert parse_uuid(no_id) is None


def test_buckets_never_change():
    # what is stored would be lost sight of if these ever changed
    assert bucket_of("f0e1c82a-6c23-4b7f-b2a7-35776e22fc3f", 64) == 58
    assert bucket_of("00000000-0000-0000-0000-000000000000", 64) == 9
    assert bucket_of("f0e1c82a-6c23-4b7f-b2a7-35776e22fc3f", 256) == 250


def test_buckets_are_even():
    counts = [0] * 64
    for _ in range(6400):
        counts[bucket_of(new_id(), 64)] += 1
    assert min(counts) > 40
    assert max(counts) < 180


# -- names -------------------------------------------------------------------------------------


@given(st.text())
def test_the_key_of_a_key_is_itself(name: str):
    key = text_types.key(name)
    assert text_types.key(key) == key
    assert text_types.key(name.upper()) == text_types.key(name.upper().casefold())
    assert text_types.key(unicodedata.normalize("NFD", name)) == key


@pytest.mark.parametrize(
    "alike",
    [
        ("straße", "STRASSE", "ＳＴＲＡＳＳＥ", "straẞe"),
        ("fish", "ﬁsh", "FISH"),
        ("é", "e\u0301", "É"),
        ("Ω", "ω", "\u2126"),
        ("ſ", "s", "S"),
        ("①", "1", "１"),
        ("K", "\u212a", "k"),
    ],
)
def test_names_that_are_alike(alike: tuple[str, ...]):
    assert len({text_types.key(name) for name in alike}) == 1


@pytest.mark.parametrize("pair", [("a", "а"), ("I", "ı"), ("o", "0"), ("é", "e"), ("a", "a.")])
def test_names_that_are_not(pair: tuple[str, str]):
    assert text_types.key(pair[0]) != text_types.key(pair[1])
