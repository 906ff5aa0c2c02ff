"""Hooks for schemathesis: rules of the API that JSON Schema cannot express."""

import json

import schemathesis
from schemathesis.openapi.checks import RejectedPositiveData

UNSAYABLE = {
    "must differ from the other topics": "uniqueItems compares whole topics, not their names",
    "must differ from the other modules": "uniqueItems compares whole results, not their names",
    "must differ from the topic's other modules": "uniqueItems compares names as they are sent, not as they are stored",
    "must be the cursor of this list's Link header": "only the server knows which cursors it gave out",
    "is among the most common passwords, or one of them with digits or marks around it": "they are a list",
    "is easily guessed": "it is an estimate",
    "must not be built from the username, the email address or a word that is common here": "JSON Schema cannot compare members",
    "must be at most 31 days ago": "only the server has a clock",
    "must not be in the future": "only the server has a clock",
    "leaves the pass mark above the full mark": "JSON Schema cannot compare members",
    "leaves the pass mark above the full mark in courses with marks of their own": "nor know what is stored",
    "must not be before from": "JSON Schema cannot compare parameters",
    "must not be after to": "JSON Schema cannot compare parameters",
    "must be at most 400 days before to": "JSON Schema cannot compare parameters",
    "must be at most 400 weeks before to": "JSON Schema cannot compare parameters",
    "must not be before sessionStart": "JSON Schema cannot compare members",
    "must not be after sessionEnd": "JSON Schema cannot compare members",
    "must be the name of a time zone, such as Europe/London": "they are a list",
    "must be a whole number, not a number": "JSON Schema counts 4.0 among the whole numbers",
    "must be an email address": "the format says less than RFC 5321: lengths of labels, quoting",
}

NAME = r"^(?=\s*[^\s\u001c-\u001f\u0085\ufeff])[^\u0000]*$"
SAME_NAME = r"^\s*[^\s\u001c-\u001f\u0085\ufeff\u0000][^\u0000]*$"


@schemathesis.hook
def before_load_schema(context, raw_schema) -> None:
    """Write the pattern of names without a lookahead: it says the same, and texts of a given length are generated at once."""
    text = json.dumps(raw_schema)
    assert json.dumps(NAME) in text
    raw_schema |= json.loads(text.replace(json.dumps(NAME), json.dumps(SAME_NAME)))


@schemathesis.hook
def filter_failure(context, failure, case, response) -> bool:
    """Keep a failure unless valid-looking input was rejected only by such rules, or a bad item of a batch has its own error."""
    if case.operation.path == "/session/batch" and response.status_code == 200:
        return all("problem" not in result for result in response.json()["results"])
    if not isinstance(failure, RejectedPositiveData) or response.status_code != 400:
        return True
    errors = response.json().get("errors", [])
    return not errors or any(error["message"].partition(":")[0] not in UNSAYABLE for error in errors)
