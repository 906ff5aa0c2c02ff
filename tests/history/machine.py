"""Any history of study, told to the server and to the model, which must go on saying the same."""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any, ClassVar
from uuid import uuid4

import httpx
import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from seneca.common.times import DAY_MS
from seneca.database import Database
from seneca.privacy import retention
from seneca.sessions import timeouts
from seneca.stats.verification import mismatches
from tests.helpers.accounts import Person, make_course, sign_up
from tests.helpers.assertions import refused
from tests.helpers.names import unique
from tests.helpers.server import PASSWORD, Server
from tests.history.model import (
    PARTS,
    Course,
    Learner,
    Model,
    Session,
    days,
    iso,
    milliseconds,
    read_json,
    statistics,
    totals,
)

# As they are sent: spaces around and decomposed letters do not tell names apart, upper and lower case do.
# Code points sort otherwise than UTF-16 (the last two).
NAMES = ["Integers", "integers", "Z\u00e4hlen", "Za\u0308hlen", " 1", "1", "\uffff", "\U0001d538"]
STORED_AS = {"Za\u0308hlen": "Z\u00e4hlen", " 1": "1"}
TOPICS = ["Number", "Algebra", "G\u00e9om\u00e9trie"]
LATEST = 2**62  # a time after any other
LITERALS = ["0", "-0.0", "0.1", "0.2", "0.3", "1e2", "1E-3", "78.50", "1000000", "-999999.999"]


def stored_name(sent: str) -> str:
    """A module name as the server stores it."""
    return STORED_AS.get(sent, sent)


scores = st.sampled_from(LITERALS).map(Decimal) | st.integers(-(10**9), 10**9).map(lambda n: Decimal(n).scaleb(-3))
parts = st.fixed_dictionaries(
    {},
    optional={
        "answers": st.lists(st.sampled_from(["A", "\u00e9", '"\\\n', ""]), max_size=2),
        "isCompleted": st.booleans(),
        "score": scores | st.integers(-(10**6), 10**6),
    },
)
updates = st.lists(
    st.fixed_dictionaries(
        {"moduleName": st.sampled_from(NAMES)},
        optional=dict.fromkeys(PARTS, parts | st.none() | st.just([])) | {"minutes": st.integers(1, 40)},
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda module: stored_name(module["moduleName"]),
)
minutes = st.integers(1, 40)
"""How long before the beginning of the history something happened: few values, so that times are equal, or at the limits of tolerance."""
items = st.fixed_dictionaries(
    {"id": st.integers(0, 5), "topic": st.sampled_from(TOPICS), "start": minutes, "modules": updates},
    optional={"end": minutes},
)
topics = st.lists(st.sampled_from(TOPICS), min_size=1, unique=True)
encode = msgspec.json.Encoder(decimal_format="number").encode

VOIDED_AT = "SELECT voided_at FROM voided_sessions WHERE learner_id = :learner AND id = :id"


class History(RuleBasedStateMachine):
    """A run has learners and courses of its own, so that histories do not mix."""

    server: ClassVar[Server]
    clients: ClassVar[Iterator[httpx.Client]]  # of two servers on one database: neither may answer what is stale
    tara: ClassVar[Person]
    database: ClassVar[Database]

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.brought = [str(uuid4()) for _ in range(3)]  # the ids that clients bring; learners share them
        self.touched: set[tuple[Learner, Course]] = set()
        self.base = now_ms()
        self.batches: list[tuple[Learner, list[dict[str, Any]]]] = []

    def at(self, minutes: int) -> int:
        """A time before the history began, in milliseconds since 1970: the last ten of ``minutes`` are two days earlier."""
        return self.base - minutes * 60_000 - (2 * DAY_MS if minutes > 30 else 0)

    # -- asking --------------------------------------------------------------------------------

    def ask(self, who: Learner | Person, method: str, path: str, body: Any = None) -> httpx.Response:
        options = {} if body is None else {"content": encode(body), "headers": {"Content-Type": "application/json"}}
        return Person(next(self.clients), who.token).request(method, path, **options)

    def told(self, who: Learner | Person, path: str) -> Any:
        answer = self.ask(who, "GET", path)
        assert answer.status_code == 200, answer.text
        return read_json(answer.text)

    def listed(self, who: Learner | Person, path: str, filters: str = "") -> list[Any]:
        """A whole list, page by page."""
        entries, following = [], f"{path}?limit=2{filters}"
        while following:
            answer = self.ask(who, "GET", following)
            assert answer.status_code == 200, answer.text
            entries += read_json(answer.text)
            following = answer.links.get("next", {}).get("url")
        return entries

    # -- accounts and courses ------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        self.register()
        self.register()
        self.create_course()

    @precondition(lambda self: len(self.model.learners) < 4)
    @rule()
    def register(self) -> None:
        learner = sign_up(next(self.clients), "learner")
        self.model.learners.append(Learner(learner.id, str(learner.token)))

    @precondition(lambda self: len(self.model.courses) < 4)
    @rule()
    def create_course(self) -> None:
        made = make_course(self.tara)
        course = Course(
            made["id"], made["courseTitle"], made["qualification"], made["topicsAndModules"], made["createdAt"]
        )
        self.model.courses.append(course)

    @precondition(lambda self: self.model.courses)
    @rule(data=st.data(), topics=st.none() | topics, renamed=st.booleans())
    def change_course(self, *, data: st.DataObject, topics: list[str] | None, renamed: bool) -> None:
        course = data.draw(st.sampled_from(self.model.courses))
        change: dict[str, Any] = {"courseTitle": unique("Course")} if renamed else {"qualification": unique("Level")}
        if topics is not None:
            change["topicsAndModules"] = [{"topic": topic, "modules": ["Integers"]} for topic in topics]
        answer = self.ask(self.tara, "PUT", f"/course/{course.id}", change)
        course.title = change.get("courseTitle", course.title)
        course.qualification = change.get("qualification", course.qualification)
        course.topics = change.get("topicsAndModules", course.topics)
        assert (answer.status_code, answer.json()) == (200, course.shown())

    @precondition(lambda self: self.model.courses)
    @rule(data=st.data())
    def delete_course(self, data: st.DataObject) -> None:
        course = data.draw(st.sampled_from(self.model.courses))
        answer = self.ask(self.tara, "DELETE", f"/course/{course.id}")
        if self.model.of(course=course):
            refused(answer, 409, "course-in-use")
        else:
            assert answer.status_code == 204
            self.model.courses.remove(course)
            refused(self.ask(self.tara, "GET", f"/stats/courses/{course.id}"), 404, "course-not-found")

    # -- forgetting ----------------------------------------------------------------------------

    @precondition(lambda self: len(self.model.learners) > 2)
    @rule(data=st.data(), by_themselves=st.booleans())
    def erase(self, *, data: st.DataObject, by_themselves: bool) -> None:
        learner = data.draw(st.sampled_from(self.model.learners))
        stays = next(other for other in self.model.learners if other is not learner)
        if by_themselves:
            answer = self.ask(learner, "DELETE", "/auth/me", {"password": PASSWORD})
        else:
            answer = self.ask(self.tara, "DELETE", f"/users/{learner.id}")
        assert answer.status_code == 204, answer.text
        refused(self.ask(self.tara, "GET", f"/stats/users/{learner.id}"), 404, "account-not-found")
        self.model.learners.remove(learner)
        self.model.sessions = [session for session in self.model.sessions if session.learner is not learner]
        self.model.voided = {key: at for key, at in self.model.voided.items() if key[0] is not learner}
        self.batches = [(who, batch) for who, batch in self.batches if who is not learner]
        self.touched = {(stays, course) for course in self.model.courses}

    @precondition(lambda self: self.model.sessions)
    @rule(data=st.data())
    def retain(self, data: st.DataObject) -> None:
        """Forget what started before one of the sessions, or with it (of other histories, too, which are over).

        The ids of what was voided before that time are forgotten, too.
        """
        before = data.draw(st.sampled_from(self.model.sessions)).start + data.draw(st.integers(0, 1))
        old = [session for session in self.model.sessions if session.start < before]
        removed = asyncio.run(retention.prune(self.database, months=1, before=before, now=before))
        assert removed.sessions >= len(old)
        self.touched |= {(session.learner, session.course) for session in old}
        self.model.sessions = [session for session in self.model.sessions if session not in old]
        self.model.voided = {key: at for key, at in self.model.voided.items() if at >= before}
        for session in old:
            refused(self.ask(session.learner, "GET", f"/session/{session.id}"), 404, "session-not-found")

    # -- one thing after the other -------------------------------------------------------------

    @precondition(lambda self: self.model.courses)
    @rule(
        data=st.data(),
        topic=st.sampled_from(TOPICS),
        brings=st.none() | st.integers(0, 2),
        by_title=st.booleans(),
        started=st.none() | minutes,
    )
    def start(
        self, *, data: st.DataObject, topic: str, brings: int | None, by_title: bool, started: int | None
    ) -> None:
        learner = data.draw(st.sampled_from(self.model.learners))
        course = data.draw(st.sampled_from(self.model.courses))
        body = {"courseIdentifier": course.title if by_title else course.id, "topic": topic}
        if brings is not None:
            body["sessionId"] = self.brought[brings]
        if started is not None:
            body["sessionStart"] = iso(self.at(started))
        existing = self.model.find(learner, body["sessionId"]) if brings is not None else None
        answer = self.ask(learner, "POST", "/session/startSession", body)
        if existing and (existing.course, existing.topic) == (course, topic):
            self.check_started(answer, 200, existing.id)
        elif existing:
            refused(answer, 409, "session-id-taken")
        elif (learner, body.get("sessionId", "")) in self.model.voided:
            refused(answer, 409, "session-voided")
        elif topic not in [entry["topic"] for entry in course.topics]:
            refused(answer, 404, "topic-not-found")
        else:
            self.check_started(answer, 201, body.get("sessionId"))
            self.note_start(learner, course, topic, answer.json()["sessionId"], started)

    @staticmethod
    def check_started(answer: httpx.Response, status: int, session_id: str | None) -> None:
        assert answer.status_code == status, answer.text
        made = answer.json()
        assert made == {
            "message": "Session started created successfully",
            "sessionId": session_id or made["sessionId"],
        }

    def note_start(
        self, learner: Learner, course: Course, topic: str, session_id: str, started: int | None = None
    ) -> None:
        start = milliseconds(self.told(learner, f"/session/{session_id}")["sessionStart"])
        if started is None:
            assert now_ms() - 60_000 < start <= now_ms()
        else:
            assert start == self.at(started)
        self.model.sessions.append(Session(session_id, learner, course, course.title, topic, start))
        self.touched.add((learner, course))

    @precondition(lambda self: self.model.sessions)
    @rule(data=st.data(), modules=updates, recorded=st.none() | minutes)
    def update(self, data: st.DataObject, modules: list[dict[str, Any]], recorded: int | None) -> None:
        session = data.draw(st.sampled_from(self.model.sessions))
        modules = self.with_times(modules)
        for module in modules:
            if recorded is None:
                module.pop("recordedAt", None)
            else:
                module.setdefault("recordedAt", self.at(recorded))
        body = {"sessionId": session.id, "moduleStats": [with_iso(module) for module in modules]}
        before = now_ms()
        answer = self.ask(session.learner, "PUT", "/session/updateSession", body)
        self.touched.add((session.learner, session.course))
        times = [module.get("recordedAt", LATEST) for module in modules]
        if not session.accepts(times):
            assert refused(answer, 409, "session-ended")["sessionEnd"] == iso(session.end or 0)
            return
        assert answer.status_code == 200, answer.text
        now = now_ms()
        if recorded is None:  # then it is the last event
            now = milliseconds(self.told(session.learner, f"/session/{session.id}")["lastActivityAt"])
            assert before <= now <= now_ms()
            modules = [module | {"recordedAt": now} for module in modules]
        modules = [module | {"moduleName": stored_name(module["moduleName"])} for module in modules]
        session.record(modules, now, is_newest=recorded is None)
        assert read_json(answer.text) == {
            "message": "Session updated successfully",
            "sessionId": session.id,
            "sessionPoints": session.shown()["sessionPoints"],
            "updatedModulesStats": [session.shown_result(module["moduleName"]) for module in modules],
        }

    def with_times(self, modules: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Modules with ``recordedAt``, in milliseconds since 1970, in place of ``minutes``."""
        modules = [{**module} for module in modules]
        for module in modules:
            if (minutes := module.pop("minutes", None)) is not None:
                module["recordedAt"] = self.at(minutes)
        return modules

    @precondition(lambda self: self.model.sessions)
    @rule(data=st.data(), ended=st.none() | minutes)
    def end(self, data: st.DataObject, ended: int | None) -> None:
        session = data.draw(st.sampled_from(self.model.sessions))
        body = {"sessionId": session.id}
        if ended is None:
            self.note_ends(session, [self.ask(session.learner, "PUT", "/session/endSession", body)])
            return
        answer = self.ask(session.learner, "PUT", "/session/endSession", body | {"sessionEnd": iso(self.at(ended))})
        self.touched.add((session.learner, session.course))
        if session.finish(self.at(ended)):
            assert answer.status_code == 200, answer.text
            assert answer.json()["sessionEnd"] == iso(session.end or 0)
        else:
            assert refused(answer, 409, "session-ended")["sessionEnd"] == iso(session.end or 0)

    def note_ends(self, session: Session, answers: list[httpx.Response]) -> None:
        """A session ends once; later requests get the same end."""
        self.touched.add((session.learner, session.course))
        done = [answer for answer in answers if answer.status_code == 200]
        assert len(done) == (not session.is_final)
        for answer in done:
            session.finish(milliseconds(answer.json()["sessionEnd"]))
            assert session.start <= (session.end or 0) <= now_ms()
        for answer in answers:
            body = answer.json() if answer in done else refused(answer, 409, "session-ended")
            assert body["sessionEnd"] == iso(session.end or 0)

    @precondition(lambda self: self.model.sessions)
    @rule(data=st.data(), noted=minutes)
    def note_activity(self, data: st.DataObject, noted: int) -> None:
        session = data.draw(st.sampled_from(self.model.sessions))
        body = {"sessionId": session.id, "recordedAt": iso(self.at(noted))}
        answer = self.ask(session.learner, "PUT", "/session/activity", body)
        self.touched.add((session.learner, session.course))
        if session.note_activity(self.at(noted)):
            assert answer.status_code == 204, answer.text
        else:
            refused(answer, 409, "session-ended")

    # -- devices that were offline -------------------------------------------------------------

    @precondition(lambda self: self.model.courses)
    @rule(data=st.data(), drawn=st.lists(items, min_size=1, max_size=4))
    def send_batch(self, data: st.DataObject, drawn: list[dict[str, Any]]) -> None:
        learner = data.draw(st.sampled_from(self.model.learners))
        ids = self.brought + [session.id for session in self.model.of(learner)][:3]
        batch = []
        for each in drawn:
            known = self.model.find(learner, session_id := ids[each["id"] % len(ids)])
            course = known.course if known else data.draw(st.sampled_from(self.model.courses))
            item = {
                "sessionId": session_id,
                "courseIdentifier": course.id,
                "topic": known.topic if known and each["start"] % 4 else each["topic"],
                "sessionStart": self.at(each["start"]),
                "moduleStats": self.with_times(each["modules"]),
            }
            if "end" in each:
                item["sessionEnd"] = self.at(each["end"])
            else:
                item["moduleStats"] = [{"recordedAt": self.at(1)} | module for module in item["moduleStats"]]
            batch.append(item)
        self.batches.append((learner, batch))
        self.record_batch(learner, batch)

    @precondition(lambda self: self.batches)
    @rule(data=st.data())
    def send_batch_again(self, data: st.DataObject) -> None:
        """The answer was lost; or only part of it was sent, in another order."""
        learner, batch = data.draw(st.sampled_from(self.batches))
        again = data.draw(st.permutations(batch * 2))
        self.record_batch(learner, again[: data.draw(st.integers(1, len(again)))])

    def record_batch(self, learner: Learner, batch: list[dict[str, Any]]) -> None:
        sent = [with_iso(item) for item in batch]
        answer = self.ask(learner, "POST", "/session/batch", {"sessions": sent})
        assert answer.status_code == 200, answer.text
        results = read_json(answer.text)["results"]
        assert len(results) == len(batch)
        for item, result in zip(batch, results, strict=True):
            modules = [module | {"moduleName": stored_name(module["moduleName"])} for module in item["moduleStats"]]
            status, outcome = self.model.record_item(learner, item | {"moduleStats": modules}, now_ms())
            assert (result["sessionId"], result["status"]) == (item["sessionId"], status)
            assert outcome == (result["sessionPoints"] if status < 400 else result["problem"]["code"])
        self.touched |= {(learner, course) for course in self.model.courses}

    # -- forgotten sessions, corrections -------------------------------------------------------

    @precondition(lambda self: self.model.sessions)
    @rule(data=st.data())
    def end_forgotten(self, data: st.DataObject) -> None:
        last = data.draw(st.sampled_from(self.model.sessions)).last_event
        before = data.draw(st.sampled_from([last, last + 1, now_ms() + 1000]))
        ended = asyncio.run(timeouts.end_all_forgotten(self.database, before))
        forgotten = [session for session in self.model.sessions if session.end_if_forgotten(before)]
        assert ended >= len(forgotten)  # of other histories, too
        self.touched |= {(session.learner, session.course) for session in forgotten}

    @precondition(lambda self: self.model.sessions)
    @rule(data=st.data(), start=st.none() | minutes, end=st.none() | minutes, reopens=st.booleans())
    def correct(self, data: st.DataObject, start: int | None, end: int | None, *, reopens: bool) -> None:
        session = data.draw(st.sampled_from(self.model.sessions))
        body: dict[str, Any] = {} if start is None else {"sessionStart": iso(self.at(start))}
        if reopens or end is not None:
            body["sessionEnd"] = None if end is None else iso(self.at(end))
        answer = self.ask(self.tara, "PATCH", f"/session/{session.id}?userId={session.learner.id}", body)
        new_start = session.start if start is None else self.at(start)
        new_end = session.end if "sessionEnd" not in body else None if end is None else self.at(end)
        if new_end is not None and new_end < new_start:
            refused(answer, 400, "invalid-input")
            return
        session.start, session.end = new_start, new_end
        if "sessionEnd" in body:
            session.ended_by = None if end is None else "administrator"
            session.open_since = now_ms() if end is None else session.open_since
        assert answer.status_code == 200, answer.text
        assert read_json(answer.text) == session.shown()
        self.touched.add((session.learner, session.course))

    @precondition(lambda self: self.model.sessions)
    @rule(data=st.data())
    def void(self, data: st.DataObject) -> None:
        session = data.draw(st.sampled_from(self.model.sessions))
        path = f"/session/{session.id}"
        if len(self.model.of(id=session.id)) > 1:
            refused(self.ask(self.tara, "DELETE", path), 409, "ambiguous")
            path += f"?userId={session.learner.id}"
        assert self.ask(self.tara, "DELETE", path).status_code == 204
        self.model.sessions.remove(session)
        [(voided_at,)] = self.server.rows(VOIDED_AT, learner=session.learner.id, id=session.id)
        self.model.voided[session.learner, session.id] = voided_at
        self.touched.add((session.learner, session.course))
        start = {"courseIdentifier": session.course.id, "topic": session.topic, "sessionId": session.id}
        refused(self.ask(session.learner, "POST", "/session/startSession", start), 409, "session-voided")
        refused(self.ask(session.learner, "GET", f"/session/{session.id}"), 404, "session-not-found")

    @precondition(lambda self: self.model.sessions)
    @rule(data=st.data())
    def ask_what_is_refused(self, data: st.DataObject) -> None:
        """Nothing of it is stored: what is read afterwards says so."""
        session = data.draw(st.sampled_from(self.model.sessions))
        learner, course = session.learner, session.course
        stranger = next(other for other in self.model.learners if other is not learner)
        good = {"moduleName": "refused", "quiz": {"score": 1}}
        update = {"sessionId": session.id, "moduleStats": [good]}
        start = {"courseIdentifier": course.id, "topic": session.topic}
        for who, method, path, body, status, code in [
            (learner, "PUT", "updateSession", update | {"moduleStats": [good, good]}, 400, "invalid-input"),
            (learner, "PUT", "updateSession", update | {"moduleStats": []}, 400, "invalid-input"),
            (learner, "PUT", "updateSession", with_names(update, " "), 400, "invalid-input"),
            (learner, "PUT", "updateSession", with_names(update, "Z\u00e4hlen", "Za\u0308hlen"), 400, "invalid-input"),
            (learner, "PUT", "updateSession", bad_score(update, "1e400"), 400, "invalid-input"),
            (learner, "PUT", "updateSession", bad_score(update, "-1000000.0006"), 400, "invalid-input"),
            (learner, "PUT", "updateSession", bad_score(update, "1000000.001"), 400, "invalid-input"),
            (learner, "POST", "startSession", start | {"topic": "None"}, 404, "topic-not-found"),
            (learner, "POST", "startSession", start | {"courseIdentifier": "None"}, 404, "course-not-found"),
            (self.tara, "PUT", "updateSession", update, 403, "forbidden"),
        ]:
            refused(self.ask(who, method, f"/session/{path}", body), status, code)
        if self.model.find(stranger, session.id) is None:
            for path, body in (("updateSession", update), ("endSession", {"sessionId": session.id})):
                refused(self.ask(stranger, "PUT", f"/session/{path}", body), 404, "session-not-found")
        self.touched |= {(learner, course), (stranger, course)}

    # -- many things at once -------------------------------------------------------------------

    @precondition(lambda self: self.model.sessions and self.model.courses)
    @rule(
        data=st.data(),
        wanted=st.lists(
            st.tuples(st.integers(0, 100), st.sampled_from(NAMES), st.sampled_from(PARTS), parts, minutes),
            min_size=2,
            max_size=8,
            unique_by=lambda w: (stored_name(w[1]), w[2]),
        ),
        brings=st.integers(0, 2),
        ends=st.booleans(),
    )
    def do_at_once(self, *, data: st.DataObject, wanted: list[Any], brings: int, ends: bool) -> None:
        """Updates of parts that differ, the same start twice, and the same end twice: no order matters to the sums."""
        sessions = self.model.sessions
        learner = data.draw(st.sampled_from(self.model.learners))
        course = data.draw(st.sampled_from(self.model.courses))
        topic = data.draw(st.sampled_from([entry["topic"] for entry in course.topics]))
        session_id = self.brought[brings]
        new = self.model.find(learner, session_id) is None and (learner, session_id) not in self.model.voided
        ending = sessions[wanted[0][0] % len(sessions)] if ends else None
        jobs: list[tuple[Any, ...]] = []
        for index, name, part, given, recorded in wanted:
            session = sessions[index % len(sessions)]
            module = {"moduleName": name, part: given, "recordedAt": iso(self.at(recorded))}
            body = {"sessionId": session.id, "moduleStats": [module]}
            jobs.append((session.learner, "PUT", "/session/updateSession", body))
        if ending:
            jobs += [(ending.learner, "PUT", "/session/endSession", {"sessionId": ending.id})] * 2
        if new:
            body = {"courseIdentifier": course.id, "topic": topic, "sessionId": self.brought[brings]}
            jobs += [(learner, "POST", "/session/startSession", body)] * 2
        answers = self.ask_at_once(jobs)
        self.note_updates(wanted, answers)
        answers = answers[len(wanted) :]
        if ending:
            self.note_ends(ending, answers[:2])
        if new:
            assert sorted(answer.status_code for answer in answers[-2:]) == [200, 201]
            self.note_start(learner, course, topic, self.brought[brings])

    def ask_at_once(self, jobs: list[tuple[Any, ...]]) -> list[httpx.Response]:
        barrier = threading.Barrier(len(jobs))

        def ask(job: tuple[Any, ...]) -> httpx.Response:
            barrier.wait(10)
            return self.ask(*job)

        with ThreadPoolExecutor(len(jobs)) as pool:
            return list(pool.map(ask, jobs))

    def note_updates(self, wanted: list[Any], answers: list[httpx.Response]) -> None:
        before: dict[Session, list[str]] = {}
        for (index, name, part, given, recorded), answer in zip(wanted, answers, strict=False):
            session = self.model.sessions[index % len(self.model.sessions)]
            before.setdefault(session, list(session.results))
            if not session.accepts([self.at(recorded)]):
                refused(answer, 409, "session-ended")
                continue
            assert answer.status_code == 200, answer.text
            module = {"moduleName": stored_name(name), part: given, "recordedAt": self.at(recorded)}
            session.record([module], now_ms())
            (stored,) = read_json(answer.text)["updatedModulesStats"]
            assert (stored["moduleName"], stored[part]) == (
                stored_name(name),
                session.shown_result(stored_name(name))[part],
            )
        for session, first in before.items():
            self.touched.add((session.learner, session.course))
            order = [m["moduleName"] for m in self.told(session.learner, f"/session/{session.id}")["modulesStats"]]
            assert order[: len(first)] == first  # what was there stays where it was; the new come in any order
            assert sorted(order) == sorted(session.results)
            session.reports = {name: session.reports[name] for name in order}

    # -- reading -------------------------------------------------------------------------------

    @invariant()
    def figures_of_what_was_touched_are_right(self) -> None:
        for learner, course in self.touched:
            self.check_course(learner, course)
        self.touched.clear()

    def check_course(self, learner: Learner, course: Course) -> None:
        own, everyones = self.model.of(learner, course), self.model.of(course=course)
        assert self.told(learner, f"/stats/user/courses/{course.id}") == statistics(own)
        assert self.told(self.tara, f"/stats/courses/{course.id}") == statistics(everyones)
        for unit in ("day", "week"):
            query = f"days?by={unit}&from={iso(self.base - 9 * DAY_MS)[:10]}&to={iso(self.base + DAY_MS)[:10]}"
            own_days = {day: {k: v for k, v in row.items() if k != "learners"} for day, row in days(own, unit).items()}
            assert self.days_told(learner, f"/stats/user/courses/{course.id}/{query}") == own_days
            assert self.days_told(self.tara, f"/stats/courses/{course.id}/{query}") == days(everyones, unit)

    def days_told(self, who: Learner | Person, path: str) -> dict[str, Any]:
        """The days or weeks that have sessions."""
        return {row["day"]: row for row in self.told(who, path)["days"] if row["sessions"] or row.get("learners")}

    @precondition(lambda self: self.model.sessions)
    @rule(data=st.data(), order=st.sampled_from(["", "asc", "desc"]), is_end=st.none() | st.booleans())
    def read_filtered(self, *, data: st.DataObject, order: str, is_end: bool | None) -> None:
        learner = data.draw(st.sampled_from(self.model.learners))
        course = data.draw(st.none() | st.sampled_from(self.model.courses)) if self.model.courses else None
        topic = data.draw(st.none() | st.sampled_from(TOPICS))
        starts = st.none() | st.sampled_from(sorted(session.start for session in self.model.sessions))
        since, until = data.draw(starts), data.draw(starts)
        if since is not None and until is not None and since > until:
            since, until = until, since
        filters = {
            "from": None if since is None else iso(since),
            "to": None if until is None else iso(until),
            "courseId": course and course.id,
            "topic": topic,
            "isEnd": None if is_end is None else str(is_end).lower(),
            "order": order or None,
        }
        query = "".join(f"&{name}={value}" for name, value in filters.items() if value is not None)
        expected = [
            session.shown()
            for session in self.model.of(learner, course)
            if (since is None or session.start >= since)
            and (until is None or session.start < until)
            and topic in (None, session.topic)
            and is_end in (None, session.end is not None)
        ]
        if order == "desc":
            expected.reverse()
        assert self.listed(learner, "/stats/user/sessions", query) == expected

    @rule()
    def read_everything(self) -> None:
        for course in self.model.courses:
            assert self.told(self.tara, f"/course/{course.id}") == course.shown()
            everyones = [session.shown() for session in self.model.of(course=course)]
            assert self.listed(self.tara, f"/stats/sessions/{course.id}") == everyones
            for learner in self.model.learners:
                self.check_course(learner, course)
                own = statistics(self.model.of(learner, course))
                assert self.told(learner, f"/stats/courses/{course.id}") == own
                assert self.told(self.tara, f"/stats/users/{learner.id}/courses/{course.id}") == own
        for learner in self.model.learners:
            own = self.model.of(learner)
            assert self.told(learner, "/stats/user") == statistics(own)
            assert self.told(self.tara, f"/stats/users/{learner.id}") == statistics(own)
            assert self.listed(learner, "/stats/user/sessions") == [session.shown() for session in own]
            assert self.listed(self.tara, f"/stats/users/{learner.id}/sessions") == [s.shown() for s in own]
        for session in self.model.sessions:
            self.read_session(session)

    def read_session(self, session: Session) -> None:
        course = session.course
        own = {"sessionId": session.id} | statistics([session])
        assert self.told(session.learner, f"/session/{session.id}") == session.shown()
        for path in (f"/stats/courses/{course.id}", f"/stats/user/courses/{course.id}"):
            assert self.told(session.learner, f"{path}/sessions/{session.id}") == own
        same_id = sorted(self.model.of(id=session.id), key=lambda s: (s.start, s.learner.id))
        assert self.listed(self.tara, f"/stats/sessions/{session.id}") == [s.shown() for s in same_id]
        assert self.told(self.tara, f"/session/{session.id}?userId={session.learner.id}") == session.shown()
        answer = self.ask(self.tara, "GET", f"/session/{session.id}")
        if len(same_id) > 1:
            refused(answer, 409, "ambiguous")
        else:
            assert read_json(answer.text) == session.shown()
        first = next(s for s in same_id if s.course is course)
        path = f"/stats/courses/{course.id}/sessions/{session.id}"
        assert self.told(self.tara, path) == {"sessionId": session.id} | statistics([first])

    def check_rows(self) -> None:
        """What is kept is what the model adds up to, and what the recorded rows say."""
        for learner in self.model.learners:
            kept = {
                row[0]: row[1:]
                for row in self.server.rows(
                    "SELECT course_id, sessions, results, points, milliseconds, active_milliseconds, names FROM learner_totals "
                    "WHERE learner_id = :id",
                    id=learner.id,
                )
            }
            kept = {
                course_id: sums for course_id, sums in kept.items() if any(sums)
            }  # what is removed leaves rows of nothing
            courses = {session.course for session in self.model.of(learner)}
            assert kept == {course.id: totals(self.model.of(learner, course)) for course in courses}
        with self.database.read_transaction() as tx:
            assert [str(difference) for difference in mismatches(tx)] == []

    def teardown(self) -> None:
        self.read_everything()
        self.check_rows()


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def with_iso(item: dict[str, Any]) -> dict[str, Any]:
    """A module or an item of a batch with its times as they are sent."""
    times = {name: iso(item[name]) for name in ("recordedAt", "sessionStart", "sessionEnd") if name in item}
    modules = {"moduleStats": [with_iso(module) for module in item["moduleStats"]]} if "moduleStats" in item else {}
    return item | times | modules


def with_names(update: dict[str, Any], *names: str) -> dict[str, Any]:
    return update | {"moduleStats": [{"moduleName": name} for name in names]}


def bad_score(update: dict[str, Any], literal: str) -> dict[str, Any]:
    module = {"moduleName": "refused", "adaptive": {"score": 1}, "quiz": {"score": msgspec.Raw(literal.encode())}}
    return update | {"moduleStats": [{"moduleName": "refused too"}, module]}
