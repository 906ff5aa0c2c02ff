"""Hashing and verification of passwords.

New hashes are Argon2id with 19 MiB, two passes and one lane (OWASP Password Storage Cheat Sheet). The reference service's
hashes are bcrypt; they verify as they did there, and are replaced at the next sign-in.
"""

import re
from typing import Annotated, Final

import bcrypt
from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import Argon2Error, InvalidHashError
from msgspec import Meta

from seneca.common import text_types

NewPassword = Annotated[
    str,
    Meta(
        min_length=8,
        max_length=128,
        pattern=text_types.NO_NUL,
        extra_json_schema={"format": "password"},
    ),
]
SentPassword = Annotated[
    str,
    Meta(max_length=1024, pattern=text_types.NO_NUL, extra_json_schema={"format": "password"}),
]

MIN_KIBIBYTES_TIMES_PASSES: Final = 7 * 1024  # of imported hashes; OWASP's minimum is five times that
MAX_KIBIBYTES: Final = 64 * 1024
MAX_PASSES: Final = 5
MAX_LANES: Final = 16
MAX_ROUNDS: Final = 14
BCRYPT_BYTES: Final = 72  # bcrypt ignores further bytes, but the library now rejects them

_ARGON2: Final = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1, type=Type.ID)
_ARGON2ID: Final = re.compile(
    r"\$argon2id\$v=19\$m=[1-9]\d{0,9},t=[1-9]\d{0,9},p=[1-9]\d{0,7}\$[A-Za-z0-9+/]{11,}\$[A-Za-z0-9+/]{16,}", re.ASCII
)  # the PHC string format
_BCRYPT: Final = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}", re.ASCII)  # 16 bytes of salt


def hash_password(password: str) -> str:
    """Hash a password with Argon2id, in the PHC string format."""
    return _ARGON2.hash(password)


def verify(stored: str, password: str) -> bool:
    """Whether a password matches a stored hash."""
    if _BCRYPT.fullmatch(stored):
        return bcrypt.checkpw(password.encode()[:BCRYPT_BYTES], stored.encode())
    try:
        return _ARGON2.verify(stored, password)
    except (Argon2Error, InvalidHashError):
        return False


def is_current(stored: str) -> bool:
    """Whether a hash has the current algorithm and parameters."""
    return stored.startswith("$argon2id$") and not _ARGON2.check_needs_rehash(stored)


def check_hash(stored: str) -> None:
    """Check that an imported hash has a supported algorithm, and neither too weak nor too expensive parameters.

    Raises:
        ValueError: the broken rule.

    """
    if match := _BCRYPT.fullmatch(stored):
        if not 4 <= int(match[1]) <= MAX_ROUNDS:
            raise ValueError(f"bcrypt's cost must be from 4 to {MAX_ROUNDS}")
        return
    if not _ARGON2ID.fullmatch(stored):
        raise ValueError("must be an argon2id or a bcrypt ($2a$, $2b$, $2y$) hash")
    parameters = extract_parameters(stored)
    if parameters.memory_cost > MAX_KIBIBYTES or parameters.time_cost > MAX_PASSES:
        raise ValueError(f"argon2id may use at most 64 MiB and {MAX_PASSES} passes")
    if parameters.memory_cost * parameters.time_cost < MIN_KIBIBYTES_TIMES_PASSES:
        raise ValueError("argon2id must use at least 7 MiB, memory times passes: it is too easily guessed")
    if parameters.parallelism > MAX_LANES:
        raise ValueError(f"argon2id may use at most {MAX_LANES} lanes")


FAILURE_STEP_MS: Final = 250  # the time of a failed sign-in is rounded up to a multiple of this
ARGON2_MS_PER_MEBIBYTE_PASS: Final = 0.82  # on the machine of docs/performance.md
BCRYPT_COST_10_MS: Final = 70
SAFETY_FACTOR: Final = 1.5


def failure_step_ms(stored: str) -> int:
    """Choose the step for the time of failed sign-ins, so that verifying this hash takes less than one step."""
    if match := _BCRYPT.fullmatch(stored):
        milliseconds = BCRYPT_COST_10_MS * 2.0 ** (int(match[1]) - 10)
    else:
        parameters = extract_parameters(stored)
        milliseconds = ARGON2_MS_PER_MEBIBYTE_PASS * parameters.memory_cost * parameters.time_cost / 1024
    step = FAILURE_STEP_MS
    while step < milliseconds * SAFETY_FACTOR:
        step *= 2
    return step
