"""A course holds results under at most 20,000 distinct module names, whoever records them."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from seneca.api.statistics_response import NAMES_START, chunks
from seneca.common.ids import bucket_of
from seneca.database import migrations
from seneca.http.responses import encode
from seneca.stats import queries
from tests.conftest import PASSWORD, Person, make_course, refused, running, seneca, sign_in, sign_up
from tests.engines import Postgres, engine
from tests.exchange import COURSE_ID, Line, Shell, course, session, user
from tests.forgetting import check_figures
from tests.wire import clients_of_workers, module

LEARNERS = [str(UUID(int=n)) for n in range(1, 12)]
COUNT = f"SELECT sum(names) FROM course_totals WHERE course_id = '{COURSE_ID}'"
DISTINCT = f"SELECT count(DISTINCT module_name) FROM course_names WHERE course_id = '{COURSE_ID}'"


def part(name: str) -> Line:
    return {"moduleName": name, "quiz": {"score": 1}}


def sessions_of(number: int, learner: str, width: int = 0) -> list[Line]:
    """Two sessions of a learner, with a thousand names each that no other learner has."""
    return [
        session(
            userId=learner,
            modulesStats=[part(f"{number} {half} {n}".ljust(width, "\u0001")) for n in range(1000)],
        )
        for half in range(2)
    ]


def people(learners: list[str]) -> list[Line]:
    return [user(id=id_, username=f"learner-{n}") for n, id_ in enumerate(learners)]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database whose course has exactly as many names as it may; the last learner has nothing yet."""
    shell = Shell(tmp_path_factory.mktemp("full"))
    study = [line for number, learner in enumerate(LEARNERS[:10]) for line in sessions_of(number, learner)]
    status, said = shell.load(course(), *people(LEARNERS), *study)
    assert status == 0, said
    assert shell.rows(COUNT) == shell.rows(DISTINCT) == [(20_000,)]
    for number in (0, 10):
        done = seneca("admin", "password", f"learner-{number}", "--data", shell.data, input=PASSWORD)
        assert done.returncode == 0, done.stderr
    return shell.data


@pytest.fixture
def copy(full: Path, tmp_path: Path) -> Iterator[Shell]:
    data = tmp_path / "data"
    data.mkdir()
    engine().copy(full, data)
    yield Shell(data)
    shutil.rmtree(data)


def test_a_full_course_takes_results_under_names_that_it_has(copy: Shell):
    with running(copy.data) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        tara = sign_up(client, "tara", role="admin")
        last, first = sign_in(client, "learner-10"), sign_in(client, "learner-0")
        started = last.start({"id": COURSE_ID, "topicsAndModules": [{"topic": "Number"}]})
        update = {"sessionId": started, "moduleStats": [part("0 0 0"), part("another")]}
        before = server.rows(COUNT)
        refused(last.put("/session/updateSession", update), 409, "too-many-names")
        assert server.rows("SELECT count(*) FROM results WHERE session_id = :id", id=started) == [(0,)]
        assert server.rows(COUNT) == before
        last.update(started, part("0 0 0"), part("9 1 999"))
        answer = tara.get(f"/stats/courses/{COURSE_ID}")
        assert answer.status_code == 200
        assert answer.json()["moduleAmount"]["totalModulesStudied"] == 20_000
        # Of the first learner's names one stays, which another learner has, too.
        assert first.delete("/auth/me", json={"password": PASSWORD}).status_code == 204
        assert server.rows(COUNT) == server.rows(DISTINCT) == [(18_001,)]
        last.update(started, part("another"))
        assert server.rows(COUNT) == [(18_002,)]
    check_figures(server)


def test_an_import_keeps_to_it(copy: Shell):
    new = session(userId=LEARNERS[10], modulesStats=[part("another")])
    known = session(userId=LEARNERS[10], modulesStats=[part("0 0 0"), part("9 1 999")])
    status, said = copy.load(known, new, options=("--skip-bad",))
    assert status == 0
    assert "line 2: modulesStats: a course holds results under at most 20,000 distinct module names" in said
    assert copy.rows(COUNT) == copy.rows(DISTINCT) == [(20_000,)]
    assert copy.true()


def test_an_import_keeps_to_it_among_its_own_lines(tmp_path: Path):
    shell = Shell(tmp_path)
    study = [line for number, learner in enumerate(LEARNERS) for line in sessions_of(number, learner)]
    status, said = shell.load(course(), *people(LEARNERS), *study, options=("--skip-bad",))
    assert status == 0
    assert said.count("a course holds results under at most") == 2
    assert shell.rows(COUNT) == shell.rows(DISTINCT) == [(20_000,)]
    assert shell.true()


def test_a_course_that_had_more_goes_on(copy: Shell):
    """As a database from before there was the bound: every read and every update under a known name works."""
    ((bucket, id_),) = copy.rows(
        f"SELECT bucket, id FROM sessions WHERE learner_id = '{LEARNERS[0]}' ORDER BY id LIMIT 1"
    )
    engine().script(
        copy.data,
        "".join(
            f"""
            INSERT INTO results (bucket, learner_id, session_id, module_name, position)
            VALUES ({bucket}, '{LEARNERS[0]}', '{id_}', 'more {n}', {1000 + n});
            """
            for n in range(10)
        ),
    )
    assert seneca("stats", "rebuild", "--data", copy.data).returncode == 0
    assert copy.rows(COUNT) == copy.rows(DISTINCT) == [(20_010,)]
    with running(copy.data) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        tara = sign_up(client, "tara", role="admin")
        last = sign_in(client, "learner-10")
        started = last.start({"id": COURSE_ID, "topicsAndModules": [{"topic": "Number"}]})
        last.update(started, part("more 7"), part("0 0 0"))
        update = {"sessionId": started, "moduleStats": [part("another")]}
        refused(last.put("/session/updateSession", update), 409, "too-many-names")
        names = tara.get(f"/stats/courses/{COURSE_ID}").json()["moduleAmount"]["moduleNames"]
        assert len(names) == 20_010
        assert "more 7" in names
    assert copy.load(session(userId=LEARNERS[10], modulesStats=[part("more 8")]))[0] == 0
    assert copy.true()


def test_names_are_counted_once_however_many_learners_race(tmp_path: Path):
    """Learners of different buckets, on two workers, bring the same new names and erase themselves."""
    with running(tmp_path, SENECA_WORKERS="2") as server:
        clients = clients_of_workers(server, 2)
        tara = sign_up(clients[0], "tara", role="admin")
        course = make_course(tara)
        learners = [sign_up(clients[n % 2], "learner") for n in range(8)]

        def study(learner: Person) -> None:
            with httpx.Client(base_url=server.url, timeout=60) as client:
                learner.client = client
                started = learner.start(course)
                for n in range(20):
                    learner.update(started, *(module(f"M{n} {i}", 1) for i in range(3)))
                if learners.index(learner) % 2:
                    assert learner.delete("/auth/me", json={"password": PASSWORD}).status_code == 204

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(study, learners))
        for client in clients:
            client.close()
        count = server.rows("SELECT sum(names) FROM course_totals WHERE course_id = :id", id=course["id"])
        assert count == [(60,)]
    check_figures(server)


OLD = """
INSERT INTO properties (name, value) VALUES ('buckets', '64'), ('bucket-hash', 'crc32');
INSERT INTO courses (id, title, qualification, topics, search_key, created_at)
VALUES ('c', 'Mathematics', 'GCSE', '[{"topic":"Number","modules":[]}]', 'mathematics', 0);
"""
OLD_STUDY = """
INSERT INTO accounts (id, bucket, username, email, role, created_at)
VALUES ('{id}', {bucket}, 'u{n}', 'u{n}@example.org', 'user', 0);
INSERT INTO sessions (bucket, learner_id, id, course_id, course_title, topic, started_at, ended_at, results, points, bytes)
VALUES ({bucket}, '{id}', '{id}', 'c', 'Mathematics', 'Number', 0, NULL, 2, 0, {size});
INSERT INTO learner_totals (bucket, learner_id, course_id, sessions, results, points, milliseconds, names, name_changes)
VALUES ({bucket}, '{id}', 'c', 1, 2, 0, 0, 2, 2);
INSERT INTO course_totals (course_id, bucket, sessions, results, points, milliseconds, name_changes)
VALUES ('c', {bucket}, 1, 2, 0, 0, 2);
"""
OLD_RESULT = """
INSERT INTO results (bucket, learner_id, session_id, module_name, position) VALUES ({bucket}, '{id}', '{id}', '{name}', {at});
INSERT INTO learner_names (bucket, learner_id, course_id, module_name, results) VALUES ({bucket}, '{id}', 'c', '{name}', 1);
INSERT INTO course_names (course_id, module_name, bucket, learners) VALUES ('c', '{name}', {bucket}, 1);
"""


@pytest.mark.old_schema
def test_names_of_an_older_database_are_counted_when_it_is_migrated(tmp_path: Path):
    by_bucket = {bucket_of(id_, 64): id_ for id_ in LEARNERS}
    assert len(by_bucket) > 3
    kind = "postgres" if isinstance(engine(), Postgres) else "sqlite"
    script = "".join(
        [f"{migrations.CREATE_MIGRATIONS_TABLE};", *(sql for _, _, sql in migrations.known(kind)[:2]), OLD]
    )
    script += "INSERT INTO migrations (number, name) VALUES (1, 'initial'), (2, 'trust');"
    for n, (bucket, id_) in enumerate(by_bucket.items()):
        names = ["in every bucket", f"of {n}"]
        script += OLD_STUDY.format(id=id_, bucket=bucket, n=n, size=sum(map(len, names)))
        script += "".join(OLD_RESULT.format(id=id_, bucket=bucket, name=name, at=at) for at, name in enumerate(names))
    engine().script(tmp_path, script)
    assert seneca("migrate", "--data", tmp_path).returncode == 0
    assert engine().rows(tmp_path, "SELECT sum(names) FROM course_totals") == [(len(by_bucket) + 1,)]
    assert seneca("stats", "verify", "--data", tmp_path).returncode == 0


def test_statistics_may_be_larger_than_the_memory_for_answers(tmp_path: Path):
    """30 courses of 2,000 names that JSON writes with six bytes a character: 72 MB, where 64 MiB are for answers."""
    shell = Shell(tmp_path)
    ids = [str(UUID(int=1000 + n)) for n in range(30)]
    studies = [
        line | {"courseId": id_}
        for number, id_ in enumerate(ids)
        for line in sessions_of(number, LEARNERS[0], width=200)
    ]
    courses = [course(id=id_, courseTitle=f"Course {id_}") for id_ in ids]
    status, said = shell.load(*courses, *people(LEARNERS[:1]), *studies)
    assert status == 0, said
    seneca("admin", "password", "learner-0", "--data", shell.data, input=PASSWORD)
    with running(shell.data) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        learner = sign_in(client, "learner-0")
        wanted = sorted(line["moduleName"] for study in studies for line in study["modulesStats"])
        for _ in range(2):
            answer = learner.get("/stats/user")
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "application/json"
            assert int(answer.headers["content-length"]) == len(answer.content) > 64 * 1024 * 1024
            body = answer.json()
            assert body["moduleAmount"] == {"totalModulesStudied": len(wanted), "moduleNames": wanted}
            assert list(body) == ["moduleAmount", "sessionTime", "scores"]
            assert body["scores"] == {"totalSessionPoints": 60_000, "overallAverageScore": 0.5}
        of_one = learner.get(f"/stats/user/courses/{ids[0]}").json()
        assert of_one["moduleAmount"]["totalModulesStudied"] == 2000
        assert of_one["moduleAmount"]["moduleNames"] == sorted(of_one["moduleAmount"]["moduleNames"])


@pytest.mark.no_database
@pytest.mark.parametrize("count", [0, 1, 499, 500, 501, 1250])
def test_statistics_in_chunks_are_the_same_json(count: int):
    names = [f'name "{n}" {NAMES_START.decode()}' for n in range(count)]
    whole = queries.statistics(names, results=7, points=5_000_500, milliseconds=90_000_000)
    assert b"".join(chunks(whole)) == encode(whole)
