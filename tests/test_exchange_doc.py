"""docs/exchange-format.md: its examples can be imported, and its tables name the members that lines have."""

import re
from pathlib import Path

import msgspec
import pytest

from seneca.exchange import records
from seneca.exchange.session_lines import LineModule, LinePart, SessionLine, VoidedSessionLine
from seneca.exchange.settings_lines import SettingsLine
from tests.helpers.exchange import stored

PAGE = (Path(__file__).parent.parent / "docs" / "exchange-format.md").read_text()


def example(name: str) -> list[bytes]:
    block = re.search(rf"<!-- example: {name} -->\n```jsonl\n(.*?)```", PAGE, re.DOTALL)
    assert block is not None
    return block[1].encode().splitlines()


def test_the_examples_are_imported(tmp_path: Path):
    with stored(tmp_path) as store:
        report = store.load(*example("complete"))
        assert [count.stored for count in (report.courses, report.users, report.sessions)] == [1, 1, 1]
        report = store.load(*example("complete"))
        assert [count.skipped for count in (report.courses, report.users, report.sessions)] == [1, 1, 1]
        report = store.load(*example("update"), update=True)
        assert [count.updated for count in (report.courses, report.users, report.sessions)] == [1, 0, 1]
        course, _, session = store.export()
        assert (course["courseTitle"], session["courseTitle"]) == ("Maths", "Mathematics")
        assert session["modulesStats"][0]["quiz"]["score"] == 85
        assert store.differences() == []


@pytest.mark.no_database
@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        ('### `"kind": "course"`', records.CourseLine),
        ('### `"kind": "user"`', records.UserLine),
        ('### `"kind": "session"`', SessionLine),
        ("An entry of `modulesStats`:", LineModule),
        ("A part:", LinePart),
        ('### `"kind": "voided-session"`', VoidedSessionLine),
        ('### `"kind": "settings"`', SettingsLine),
    ],
)
def test_every_member_has_its_row(heading: str, kind: type[msgspec.Struct]):
    table = PAGE.split(f"\n{heading}\n")[1].lstrip().split("\n\n")[0]
    rows = [re.findall(r"`(\w+)`", row.split("|")[1]) for row in table.splitlines()[2:]]
    optional = {
        name for row in table.splitlines() if ", optional" in row for name in re.findall(r"`(\w+)`", row.split("|")[1])
    }
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    if kind is LineModule:
        del fields["id"]  # the reference service's, ignored
    assert {name for row in rows for name in row} == set(fields)
    assert optional == {name for name, field in fields.items() if not field.required}
