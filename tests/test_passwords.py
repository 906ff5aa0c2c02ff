"""Passwords: how they are hashed, verified and renewed."""

import argon2
import bcrypt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seneca.auth import passwords

pytestmark = pytest.mark.no_database  # it asks none


@settings(max_examples=20)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=128), st.text(max_size=5))
def test_a_hash_verifies_its_password_and_no_other(password: str, more: str):
    stored = passwords.hash_password(password)
    assert passwords.is_current(stored)
    assert passwords.verify(stored, password)
    assert not passwords.verify(stored, password + "x" + more.encode(errors="replace").decode())


def test_hashes_are_salted_argon2id():
    first, second = passwords.hash_password("same"), passwords.hash_password("same")
    assert first != second
    parameters = argon2.extract_parameters(first)
    assert (parameters.type, parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (
        argon2.Type.ID,
        19_456,
        2,
        1,
    )


@pytest.mark.parametrize("prefix", [b"2a", b"2b"])
@pytest.mark.parametrize(
    "password", ["", "short", "x" * 72, "x" * 73, "x" * 1000, "é" * 36, "é" * 37, "x" + "é" * 40, "名" * 50]
)
def test_bcrypt_looks_at_72_bytes(prefix: bytes, password: str):
    stored = bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4, prefix)).decode()
    assert not passwords.is_current(stored)
    assert passwords.verify(stored, password)
    assert passwords.verify(stored, password + "more") == (len(password.encode()) >= 72)
    assert not passwords.verify(stored, "y" + password)


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "plain",
        "$2b$04$" + "a" * 53,
        "$2b$04$short",
        "$argon2id$",
        "$argon2id$v=19$m=1,t=1,p=1$a$b",
    ],
)
def test_what_is_no_hash_of_ours_verifies_nothing(stored: str):
    assert not passwords.verify(stored, "")
    assert not passwords.verify(stored, stored)


OTHER = [
    argon2.PasswordHasher(time_cost=1, memory_cost=8_192, parallelism=1),
    argon2.PasswordHasher(time_cost=3, memory_cost=65_536, parallelism=4),
    argon2.PasswordHasher(time_cost=5, memory_cost=1_536, parallelism=1, type=argon2.Type.ID),
]


@pytest.mark.parametrize("hasher", OTHER)
def test_other_argon2id_hashes_verify_and_are_not_current(hasher: argon2.PasswordHasher):
    stored = hasher.hash("secret")
    passwords.check_hash(stored)
    assert passwords.verify(stored, "secret")
    assert not passwords.verify(stored, "Secret")
    assert not passwords.is_current(stored)


@pytest.mark.parametrize("cost", [4, 10, 14])
def test_bcrypt_hashes_that_may_be_imported(cost: int):
    passwords.check_hash(f"$2b${cost:02}$" + "." * 53)
    passwords.check_hash(f"$2a${cost:02}$" + "." * 53)


REFUSED = {
    "empty": "",
    "plain text": "securePassword123",
    "bcrypt, cost 3": "$2b$03$" + "." * 53,
    "bcrypt, cost 15": "$2b$15$" + "." * 53,
    "bcrypt, cost 31": "$2b$31$" + "." * 53,
    "bcrypt, 2x": "$2x$10$" + "." * 53,
    "bcrypt, cut": "$2b$10$" + "." * 52,
    "bcrypt, longer": "$2b$10$" + "." * 54,
    "bcrypt, salt of no whole bytes": "$2b$10$" + "a" * 53,
    "bcrypt, line end": "$2b$10$" + "." * 53 + "\n",
    "argon2i": argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1, type=argon2.Type.I).hash("x"),
    "argon2d": argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1, type=argon2.Type.D).hash("x"),
    "argon2id, 65 MiB": "$argon2id$v=19$m=66560,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
    "argon2id, 6 passes": "$argon2id$v=19$m=19456,t=6,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
    "argon2id, 8 KiB": "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
    "argon2id, 1 MiB in 5 passes": "$argon2id$v=19$m=1024,t=5,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
    "argon2id, no passes": "$argon2id$v=19$m=19456,t=0,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
    "argon2id, 17 lanes": "$argon2id$v=19$m=19456,t=2,p=17$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
    "argon2id, no digest": "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$",
    "argon2id, other digits": "$argon2id$v=19$m=19456,t=2,p=\u0661$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
    "argon2id, not a number": "$argon2id$v=19$m=x,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
    "md5": "5f4dcc3b5aa765d61d8327deb882cf99",
}


@pytest.mark.parametrize("stored", REFUSED.values(), ids=REFUSED.keys())
def test_hashes_that_may_not_be_imported(stored: str):
    with pytest.raises(ValueError, match=r"must|may"):
        passwords.check_hash(stored)


ARGON2 = "$argon2id$v=19$m={},t={},p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA"
BCRYPT = "$2b${}$" + 21 * "a" + "e" + 31 * "a"


@pytest.mark.parametrize(
    ("stored", "step"),
    [
        (ARGON2.format(19_456, 2), 250),
        (ARGON2.format(65_536, 3), 250),
        (ARGON2.format(65_536, 5), 500),
        (BCRYPT.format(10), 250),
        (BCRYPT.format(11), 250),
        (BCRYPT.format(12), 500),
        (BCRYPT.format(13), 1000),
        (BCRYPT.format(14), 2000),
    ],
)
def test_how_long_failures_take_where_there_is_such_a_hash(stored: str, step: int):
    assert passwords.failure_step_ms(stored) == step
