"""Settings: every variable, its default, and what it cannot be."""

import os
from pathlib import Path

import msgspec
import pytest

from seneca import settings
from seneca.errors import CommandError
from seneca.settings import Settings
from tests.helpers.commands import seneca

pytestmark = pytest.mark.no_database  # it asks none


def test_defaults():
    actual = settings.read({})
    assert actual == Settings()
    assert (actual.host, actual.port, actual.workers, actual.registration) == ("127.0.0.1", 3000, 0, "open")
    assert (actual.secret_key, actual.cors_origins, actual.origins, actual.log_format) == ("", "", [], "auto")
    assert actual.database == f"sqlite:///{actual.data / 'seneca.db'}"


VALUES = {
    "SENECA_DATA": ("/srv/seneca", Path("/srv/seneca")),
    "SENECA_DATABASE_URL": ("sqlite:////srv/other.db", "sqlite:////srv/other.db"),
    "SENECA_HOST": ("0.0.0.0", "0.0.0.0"),
    "SENECA_PORT": ("8080", 8080),
    "SENECA_WORKERS": ("2", 2),
    "SENECA_DATABASE_CONNECTIONS": ("20", 20),
    "SENECA_SECRET_KEY": ("12345", "12345"),
    "SENECA_REGISTRATION": ("admin", "admin"),
    "SENECA_PASSWORD_WORDS": ("/etc/seneca/words.txt", "/etc/seneca/words.txt"),
    "SENECA_MAX_LOGIN_FAILURES": ("100", 100),
    "SENECA_MAX_REGISTRATIONS": ("1000", 1000),
    "SENECA_CORS_ORIGINS": ("https://a.test,https://b.test", "https://a.test,https://b.test"),
    "SENECA_TRUSTED_PROXIES": ("10.0.0.7, fd00::/8", "10.0.0.7, fd00::/8"),
    "SENECA_MAX_LEARNER_WRITES": ("5", 5),
    "SENECA_MAX_LEARNER_BYTES": ("1000", 1000),
    "SENECA_MAX_LATE_DAYS": ("7", 7),
    "SENECA_SESSION_TIMEOUT_HOURS": ("0", 0),
    "SENECA_IDLE_MINUTES": ("10", 10),
    "SENECA_TIME_ZONE": ("Asia/Kathmandu", "Asia/Kathmandu"),
    "SENECA_VACUUM_INTERVAL": ("60", 60),
    "SENECA_LOG_FORMAT": ("json", "json"),
}


def test_every_setting_has_a_variable():
    assert {settings.variable(name) for name in Settings.__struct_fields__} == set(VALUES)


@pytest.mark.parametrize(("variable", "text", "value"), [(name, *pair) for name, pair in VALUES.items()])
def test_a_variable_sets_its_setting_alone(variable: str, text: str, value: object):
    actual = settings.read({variable: text, "PATH": "/bin", "SENECAX": "x"})
    changed = {name for name in Settings.__struct_fields__ if getattr(actual, name) != getattr(Settings(), name)}
    assert {settings.variable(name) for name in changed} == {variable}
    assert getattr(actual, changed.pop()) == value


def test_arguments_come_before_the_environment():
    environment = {"SENECA_PORT": "8080", "SENECA_HOST": "0.0.0.0"}
    actual = settings.read(environment, port=9000, host=None, data=Path("here"))
    assert (actual.port, actual.host, actual.data) == (9000, "0.0.0.0", Path("here"))


def test_workers_get_the_same_settings():
    actual = settings.read({name: text for name, (text, _) in VALUES.items()})
    assert settings.read(actual.variables()) == actual
    assert settings.read(Settings().variables()) == Settings()


@pytest.mark.parametrize(("cores", "processes"), [({3}, 1), ({0, 5}, 2), (set(range(4)), 4), (set(range(64)), 4)])
def test_workers_follow_the_usable_cores_up_to_four(monkeypatch: pytest.MonkeyPatch, cores: set[int], processes: int):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: cores)  # as ``taskset`` would have it
    assert Settings().processes == processes
    assert settings.read({"SENECA_WORKERS": "7"}).processes == 7
    assert Settings().cores_each == max(1, len(cores) // processes)
    assert settings.read({"SENECA_WORKERS": "1"}).cores_each == len(cores)
    assert settings.read({"SENECA_WORKERS": "7"}).cores_each == max(1, len(cores) // 7)


def test_origins_are_taken_apart():
    actual = settings.read({"SENECA_CORS_ORIGINS": " https://a.test , https://b.test,, "})
    assert actual.origins == ["https://a.test", "https://b.test"]
    origins = ["http://127.0.0.1:8080", "http://[::1]:8080", "capacitor://localhost", "chrome-extension://abcdef"]
    assert settings.read({"SENECA_CORS_ORIGINS": ",".join(origins)}).origins == origins
    assert settings.read({"SENECA_CORS_ORIGINS": "HTTPS://App.School.Example"}).origins == [
        "https://app.school.example"
    ]


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        *(("SENECA_PORT", text) for text in ("", "x", "-1", "65536", "80.5", "0x50")),
        *(("SENECA_WORKERS", text) for text in ("", "-1", "65", "two", "true")),
        *(("SENECA_REGISTRATION", text) for text in ("", "closed", "ADMIN")),
        *(("SENECA_LOG_FORMAT", text) for text in ("", "xml")),
        *(
            ("SENECA_CORS_ORIGINS", text)
            for text in (
                *("*", "null", "https://*.school.example", "https://app.school.example/", "not an origin"),
                *("https://a.test;https://b.test", "a.test", "https://u@a.test", "https://a.test?x", "https://"),
            )
        ),
    ],
)
def test_refuses_a_bad_value_and_names_the_variable(variable: str, text: str):
    with pytest.raises(CommandError, match=variable):
        settings.read({variable: text})


@pytest.mark.parametrize("name", ["SENECA_PROT", "SENECA_", "SENECA_port"])
def test_refuses_an_unknown_variable(name: str):
    with pytest.raises(CommandError, match=f"Unknown setting {name}\\.") as error:
        settings.read({name: "x"})
    assert "SENECA_PORT" in error.value.detail


def test_frozen():
    with pytest.raises(AttributeError):
        Settings().port = 1  # type: ignore[misc]
    assert msgspec.structs.asdict(Settings())["port"] == 3000


@pytest.mark.parametrize("variable", ["SENECA_PORT", "SENECA_WORKERS"])
def test_the_shell_refuses_a_bad_value(tmp_path: Path, variable: str):
    done = seneca("serve", "--data", tmp_path, env={variable: "many", "PATH": ""})
    assert done.returncode in (1, 2)
    assert variable in done.stderr
    assert not (tmp_path / "seneca.db").exists()


def test_the_shell_refuses_an_unknown_variable(tmp_path: Path):
    done = seneca("migrate", "--data", tmp_path, env={"SENECA_PROT": "1", "PATH": ""})
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "SENECA_PROT" in done.stderr
