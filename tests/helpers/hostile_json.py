"""JSON texts of strangers who want to cost us time and memory: by hand what is known to hurt, and by chance the rest."""

import random
from collections.abc import Callable, Iterator

BYTES = 256 * 1024
ID = b"0190a000-0000-7000-8000-000000000001"
BOM = b"\xef\xbb\xbf"


def filled(
    start: bytes, item: bytes | Callable[[int], bytes], end: bytes, separator: bytes = b",", *, size: int
) -> bytes:
    """As many items between a start and an end as the size allows."""
    parts = [start]
    length = len(start) + len(end)
    while True:
        part = item if isinstance(item, bytes) else item(len(parts))
        length += len(part) + len(separator)
        if length > size:
            return start + separator.join(parts[1:]) + end
        parts.append(part)


def shapes(size: int = BYTES) -> Iterator[tuple[str, bytes]]:
    """Named texts of about this size, for any route: each is also put where a route expects something else."""
    half = size // 2
    key = b"k" * half
    emoji = b"k" * (half - 4) + "😀".encode()
    deep = size // 1000
    yield "a byte order mark, a long key, a long list", filled(BOM + b'{"' + key + b'":[', b"1", b"]}", size=size)
    yield "an emoji in the key", filled(BOM + b'{"' + emoji + b'":[', b"1", b"]}", size=size)
    yield "a long key, NaN at the end", filled(b'{"' + emoji + b'":[', b"1", b",NaN]}", size=size)
    yield (
        "a long key over 900 lists",
        b'{"' + b"k" * (size - 2000) + "😀".encode() + b'":' + b"[" * 900 + b"NaN" + b"]" * 900 + b"}",
    )
    yield (
        "900 objects with long keys",
        b'{"' + b'":{"'.join(f"{'k' * (deep - 12)}😀{n}".encode() for n in range(900)) + b'":NaN' + b"}" * 900,
    )
    yield "thousand-fold lists", b"[" * half + b"]" * half
    yield "lists that never close", b"[" * size
    yield "objects that never close", b'{"a":' * (size // 5)
    yield "900-fold lists, often", filled(b"[", b"[" * 900 + b"]" * 900, b"]", size=size)
    yield "900-fold objects, often", filled(b"[", b'{"a":' * 900 + b"1" + b"}" * 900, b"]", size=size)
    for name, item in {
        "empty objects": b"{}",
        "small objects": b'{"a":1}',
        "objects with a name twice": b'{"a":1,"a":2}',
        "empty lists": b"[]",
        "ones": b"1",
        "fractions": b"1.5",
        "exponents": b"1e5",
        "exponents out of range": b"1e999999",
        "exponents of twenty digits": b"1e99999999999999999999",
        "empty texts": b'""',
        "letters": b'"a"',
        "letters of two bytes": '"ā"'.encode(),
        "emoji": '"😀"'.encode(),
        "nulls": b"null",
        "NaN": b"NaN",
        "minus infinity": b"-Infinity",
        "escapes": b'"\\u00e9\\n"',
        "NUL": b'"\\u0000"',
        "surrogates": b'"\\ud800"',
        "integers of 4,000 digits": b"7" * 4000,
        "integers of 5,000 digits": b"7" * 5000,
        "fractions of 5,000 digits": b"0." + b"7" * 5000,
        "modules": b'{"moduleName":"M"}',
        "modules with a bad score": b'{"moduleName":"M","quiz":{"score":"1"}}',
        "modules with everything wrong": b'{"moduleName":1,"quiz":{"score":NaN,"x":{},"answers":[1,"\\u0000"]},"x":0}',
        "topics": b'{"topic":"T","modules":["a","b"]}',
        "topics of nothing": b'{"topic":"","modules":["",1,{}]}',
    }.items():
        yield f"a list of {name}", filled(b"[", item, b"]", size=size)
        yield f"a member for each of {name}", filled(b"{", lambda n, item=item: b'"%x":%b' % (n, item), b"}", size=size)
    yield "one name, again and again", filled(b"{", b'"a":1', b"}", size=size)
    yield "one name in escapes", filled(b"{", lambda n: b'"\\u0061":%d' % n, b"}", size=size)
    yield "names of surrogates", filled(b"{", lambda n: b'"\\ud8%02x":%d' % (n % 256, n), b"}", size=size)
    yield "a text of backslashes", b'"' + b"\\" * (size // 2 * 2 - 2) + b'"'
    yield "backslashes and NUL", b'"' + b"\\" * (half // 2 * 2) + b"\\u0000" + b'"'
    yield "a long text", b'"' + b"x" * size + b'"'
    yield "a long text of emoji", b'"' + "😀".encode() * (size // 4) + b'"'
    yield "an integer of all digits", b"7" * size
    yield "a fraction of all digits", b"0." + b"7" * size
    yield "white space", b" " * size
    yield "white space in a text", b'"' + b" " * size + b'"'
    yield "UTF-16", ("[" + "1," * (size // 4) + "1]").encode("utf-16")
    yield "UTF-32", ("[" + "1," * (size // 8) + "1]").encode("utf-32")
    yield "not UTF-8", b'"' + b"\xed\xa0\x80" * (size // 3) + b'"'
    yield "quotes of our own messages", b'{"' + b" - at `$.a" * (size // 10) + b'":1}'
    answers = filled(b"", b'""', b"", size=size - 200)
    yield (
        "an update of empty answers",
        b'{"sessionId":"%b","moduleStats":[%b]}'
        % (
            ID,
            filled(
                b"",
                lambda n: b'{"moduleName":"%d","quiz":{"answers":[%b]}}' % (n, answers[: 500 * 3 - 1]),
                b"",
                size=size - 100,
            ),
        ),
    )
    yield (
        "an update with one bad answer in each part",
        b'{"sessionId":"%b","moduleStats":[%b]}'
        % (
            ID,
            filled(
                b"",
                lambda n: b'{"moduleName":"%d","quiz":{"answers":[%b,1]}}' % (n, answers[: 499 * 3 - 1]),
                b"",
                size=size - 100,
            ),
        ),
    )
    yield (
        "an update of integers of 4,000 digits",
        b'{"sessionId":"%b","moduleStats":[%b]}'
        % (
            ID,
            filled(b"", lambda n: b'{"moduleName":"%d","quiz":{"score":%b}}' % (n, b"7" * 4000), b"", size=size - 100),
        ),
    )
    yield (
        "an update of long fractions",
        b'{"sessionId":"%b","moduleStats":[%b]}'
        % (
            ID,
            filled(
                b"", lambda n: b'{"moduleName":"%d","quiz":{"score":0.%b}}' % (n, b"7" * 1200), b"", size=size - 100
            ),
        ),
    )
    yield (
        "a course of short names",
        b'{"courseTitle":"C","qualification":"Q","topicsAndModules":[%b]}'
        % filled(
            b"",
            lambda n: b'{"topic":"%d","modules":[%b]}' % (n, b",".join(b'"%x"' % m for m in range(500))),
            b"",
            size=size - 100,
        ),
    )
    yield (
        "a course of names to normalise",
        b'{"courseTitle":"C","qualification":"Q","topicsAndModules":[%b]}'
        % filled(
            b"",
            lambda n: '{{"topic":"{}","modules":[{}]}}'.format(
                n, ",".join(f'" e\u0301{m:x}"' for m in range(500))
            ).encode(),
            b"",
            size=size - 100,
        ),
    )
    yield (
        "a course whose last names repeat",
        b'{"courseTitle":"C","qualification":"Q","topicsAndModules":[%b]}'
        % filled(
            b"",
            lambda n: b'{"topic":"%d","modules":[%b,"0"]}' % (n, b",".join(b'"%x"' % m for m in range(499))),
            b"",
            size=size - 100,
        ),
    )
    yield (
        "a registration of long texts",
        b'{"username":"%b","email":"%b@x.org","password":"%b"}'
        % (b"x" * (size // 3), b"y" * (size // 3), b"z" * (size // 3 - 60)),
    )


def placed(text: bytes) -> Iterator[tuple[str, bytes]]:
    """A text as a body, and where bodies of our routes have lists and texts."""
    update = b'{"sessionId":"%b","moduleStats":%b}'
    course = b'{"courseTitle":"C","qualification":"Q","topicsAndModules":%b}'
    yield "the body", text
    yield "its modules", update % (ID, text)
    yield "its answers", update % (ID, b'[{"moduleName":"M","quiz":{"answers":%b}}]' % text)
    yield "its topics", course % text
    yield "its names", course % (b'[{"topic":"T","modules":%b}]' % text)


MEMBERS = [
    "username",
    "email",
    "password",
    "role",
    "sessionId",
    "moduleStats",
    "courseTitle",
    "topicsAndModules",
    "moduleName",
    "quiz",
    "score",
    "answers",
    "topic",
    "modules",
    "kind",
    "x",
]
LEAVES = [
    b"1",
    b"1.5",
    b'"a"',
    b"null",
    b"true",
    b"NaN",
    b"1e400",
    b'"\\ud800"',
    b'"\\u0000"',
    b"7" * 4500,
    b"{}",
    b"[]",
    '"😀"'.encode(),
    b'"%b"' % ID,
]


def by_chance(seed: int, size: int = BYTES) -> bytes:
    """A text of about this size, of whatever shape."""
    chance = random.Random(seed)

    def text(budget: int, depth: int) -> bytes:
        if budget < 30 or depth > 60:
            return chance.choice(LEAVES)
        kind = chance.random()
        count = chance.choice([1, 1, 2, 5, 50, 1000, 10_000])
        each = budget // count
        if kind < 0.1:
            return (
                b'"'
                + chance.choice([b"x", "é".encode(), "😀".encode(), b"\\u0061", b"\\\\", b" "]) * (budget // 6)
                + b'"'
            )
        item = text(each, depth + 1) if chance.random() < 0.7 else None
        if kind < 0.5:
            return filled(b"[", item or (lambda _: text(min(each, 200), depth + 1)), b"]", size=budget)

        def member(n: int) -> bytes:
            name = chance.choice([*MEMBERS, f"{n:x}", "n" * (each // 2), "😀" * (each // 8)])
            return b'"%b":%b' % (name.encode(), item or text(min(each, 200), depth + 1))

        return filled(b"{", member, b"}", size=budget)

    return chance.choice([b"", b"", b"", BOM]) + text(size, 0)
