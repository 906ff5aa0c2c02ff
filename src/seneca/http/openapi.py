"""Generate the OpenAPI 3.1 document from the routes' declarations."""

import inspect
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from importlib.resources import files
from typing import Any, Final

import msgspec

from seneca import errors
from seneca.common import text_types
from seneca.errors import ApiError
from seneca.http import pagination
from seneca.http.endpoint import Endpoint, ResponseSpec
from seneca.http.problem_details import ProblemDetails
from seneca.http.table_files import CSV, XLSX
from seneca.http.tables import Table

SCHEMAS: Final = "#/components/schemas/{name}"
UUID: Final = {"type": "string", "format": "uuid"}
DATE_OR_TIME: Final = {
    "type": "string",
    "anyOf": [{"format": "date"}, {"format": "date-time"}],
    "examples": ["2026-11-23", "2026-11-23T13:42:55.919Z"],
}
QUERY: Final[dict[str, dict[str, Any]]] = {
    "limit": {
        "description": "The maximum number of entries on a page.",
        "schema": {
            "type": "integer",
            "minimum": 1,
            "maximum": pagination.MAX_LIMIT,
            "default": pagination.DEFAULT_LIMIT,
        },
    },
    "cursor": {
        "description": "Where the page starts: taken from the `Link` header of the previous page.",
        "schema": {"type": "string"},
    },
    "q": {
        "description": "Only entries that contain this text (case-insensitive).",
        "schema": {"type": "string", "maxLength": pagination.MAX_QUERY_CHARACTERS, "pattern": text_types.NO_NUL},
    },
    "userId": {
        "description": "The session's learner, where several learners have chosen the same session id.",
        "schema": {"type": "string", "format": "uuid"},
    },
    "from": {
        "description": "Only sessions that started on this study day or later, or at this time or later.",
        "schema": DATE_OR_TIME,
    },
    "to": {
        "description": "Only sessions that started on this study day or earlier, or before this time.",
        "schema": DATE_OR_TIME,
    },
    "courseId": {
        "description": "Only sessions of this course.",
        "schema": {"type": "string", "format": "uuid"},
    },
    "topic": {
        "description": "Only sessions with this topic.",
        "schema": {
            "type": "string",
            "minLength": 1,
            "maxLength": text_types.MAX_NAME_CHARACTERS,
            "pattern": text_types.NAME,
        },
    },
    "isEnd": {
        "description": "Only sessions that have ended, or only those that have not.",
        "schema": {"type": "boolean"},
    },
    "order": {
        "description": "By start: earliest or latest first.",
        "schema": {"type": "string", "enum": ["asc", "desc"], "default": "asc"},
    },
}
REQUEST_HEADERS: Final = {
    "If-Match": "Make the change only if the stored version has this ETag.",
    "If-None-Match": "Send the body only if the stored version has another ETag.",
    "X-Setup-Token": "The setup token, to register the first administrator.",
}
ROUTING_ERRORS: Final = (errors.RouteNotFound, errors.MethodNotAllowed)  # not specific to any operation
ERROR_HEADERS: Final = {
    401: {"WWW-Authenticate": "How to authenticate."},
    405: {"Allow": "The methods that the path supports."},
    429: {"Retry-After": "Seconds to wait before retrying."},
    503: {"Retry-After": "Seconds to wait before retrying."},
}


def errors_of(endpoint: Endpoint) -> list[type[ApiError]]:
    """Every error that a route can return: those that it declares, and those that follow from the rest of its declaration."""
    kinds: list[type[ApiError]] = [errors.InvalidInput]
    if endpoint.body is not None:
        kinds += [errors.MalformedJson, errors.RequestTimeout, errors.PayloadTooLarge, errors.UnsupportedMediaType]
    if endpoint.accepts_any_body:
        kinds += [errors.RequestTimeout, errors.PayloadTooLarge]
    if endpoint.requires != "anyone" or "X-Setup-Token" in endpoint.request_headers:
        kinds.append(errors.Unauthenticated)
    if endpoint.requires in ("user", "admin"):
        kinds.append(errors.Forbidden)
    if endpoint.table is not None:
        kinds.append(errors.TooManyRows)
    return [*kinds, *endpoint.errors, errors.ServiceUnavailable]


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """Generate the OpenAPI document of these endpoints."""
    request_types = [endpoint.schema for endpoint in endpoints if endpoint.schema is not None]
    response_types = [
        response.body for endpoint in endpoints for response in endpoint.responses if response.body not in (None, str)
    ]
    types = [ProblemDetails, *request_types, *response_types]
    _, components = msgspec.json.schema_components(types, ref_template=SCHEMAS)
    _refine_schemas(components)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Seneca",
            "version": version("seneca"),
            "description": files("seneca.api").joinpath("guide.md").read_text(encoding="utf-8"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(endpoint.tag for endpoint in endpoints)],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": {kind.__name__: _error_response(kind.status, [kind]) for kind in ROUTING_ERRORS},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _with_recorded_at(part: dict[str, Any]) -> dict[str, Any]:
    recorded_at = {"type": "string", "format": "date-time", "description": "Missing if the time is not known."}
    return part | {
        "title": "RecordedPart",
        "description": "A part, and when it was recorded.",
        "properties": part["properties"] | {"recordedAt": recorded_at},
    }


def _refine_schemas(components: dict[str, Any]) -> None:
    """Correct the schemas where the Python types are too general: stored JSON is inserted unparsed, and exact numbers are Decimal."""
    components["Course"]["properties"]["topicsAndModules"] = components["NewCourse"]["properties"]["topicsAndModules"]
    for name in ("AccountChange", "SettingsChange", "CourseSettingsChange"):
        components[name]["minProperties"] = 1
    course_members = ("courseTitle", "qualification", "topicsAndModules")
    components["CourseChange"]["anyOf"] = [{"required": [name]} for name in course_members]
    part = {"$ref": SCHEMAS.format(name="Part")}
    for name in ("adaptive", "quiz", "wrongAnswers"):
        components["ModuleResult"]["properties"][name] = part
        components["RecordedModule"]["properties"][name] = {"$ref": SCHEMAS.format(name="RecordedPart")}
    components["RecordedPart"] = _with_recorded_at(components["Part"])
    for schema in components.values():
        if "description" in schema:  # a docstring
            schema["description"] = inspect.cleandoc(schema["description"])
        for name in ("sessionPoints", "totalSessionPoints", "points"):
            if name in schema.get("properties", {}):
                schema["properties"][name] = {"type": "number"}
        for name in ("id", "userId", "courseId", "sessionId"):
            if schema.get("properties", {}).get(name) == {"type": "string"}:
                schema["properties"][name] = UUID


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    name = getattr(endpoint.handler, "__name__", "")
    module = endpoint.handler.__module__.rpartition(".")[2]
    summary, _, description = (endpoint.handler.__doc__ or "").strip().partition("\n")
    spec: dict[str, Any] = {
        "operationId": f"{module}_{name}",
        "tags": [endpoint.tag],
        "summary": summary.rstrip("."),
        "description": "\n".join(line.strip() for line in description.strip().splitlines()) + _requirement(endpoint),
        "parameters": _parameters(endpoint),
        "responses": _responses(endpoint),
        "x-who": endpoint.requires,
    }
    if endpoint.requires != "anyone":
        spec["security"] = [{"bearer": []}]
    elif "X-Setup-Token" in endpoint.request_headers:
        spec["security"] = [{}, {"bearer": []}]
    if endpoint.body is not None:
        (schema,), _ = msgspec.json.schema_components([endpoint.schema], ref_template=SCHEMAS)
        content = {
            "schema": schema,
            "examples": {"example": {"value": endpoint.example}},
        }
        spec["requestBody"] = {
            "required": True,
            "content": {"application/json": content},
        }
    if endpoint.accepts_any_body:
        spec["requestBody"] = {"required": False, "content": {"*/*": {}}}
    return spec


def _requirement(endpoint: Endpoint) -> str:
    return {
        "anyone": "",
        "signed-in": "\n\nRequires a token of any role.",
        "user": "\n\nRequires the role `user` (learners).",
        "admin": "\n\nRequires the role `admin` (administrators).",
    }[endpoint.requires]


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    def schema(name: str) -> dict[str, Any]:
        if name != "courseIdentifier":
            return UUID
        return {
            "type": "string",
            "minLength": 1,
            "maxLength": 200,
            "pattern": "^[^/\\u0000]*$",
        }

    return [
        *(
            {"name": n, "in": "path", "required": True, "schema": schema(n)}
            for n in re.findall(r"\{(\w+)\}", endpoint.path)
        ),
        *(
            {"name": n, "in": "query", "required": False, **(endpoint.query_docs.get(n) or QUERY[n])}
            for n in endpoint.query
        ),
        *(
            {
                "name": n,
                "in": "header",
                "required": False,
                "description": REQUEST_HEADERS[n],
                "schema": {"type": "string"},
            }
            for n in endpoint.request_headers
        ),
    ]


def _responses(endpoint: Endpoint) -> dict[str, Any]:
    responses = {str(response.status): _success_response(response) for response in endpoint.responses}
    if endpoint.table is not None:
        responses["200"]["content"] |= _table_contents(endpoint.table)
    by_status: dict[int, list[type[ApiError]]] = {}
    for kind in errors_of(endpoint):
        by_status.setdefault(kind.status, []).append(kind)
    for status, kinds in sorted(by_status.items()):
        responses[str(status)] = _error_response(status, kinds)
    return responses


def _error_response(status: int, kinds: Sequence[type[ApiError]]) -> dict[str, Any]:
    return {
        "description": " ".join(f"{title} (`{code}`)." for kind in kinds for code, title in kind.titles().items()),
        "headers": _headers(ERROR_HEADERS.get(status, {})),
        "content": {"application/problem+json": {"schema": {"$ref": SCHEMAS.format(name="ProblemDetails")}}},
    }


def _success_response(response: ResponseSpec) -> dict[str, Any]:
    spec: dict[str, Any] = {"description": response.description}
    if response.headers:
        spec["headers"] = _headers(response.headers)
    if response.body is str:
        spec["content"] = {"text/plain": {"schema": {"type": "string"}, "example": response.example}}
    elif response.body is not None:
        (schema,), _ = msgspec.json.schema_components([response.body], ref_template=SCHEMAS)
        spec["content"] = {
            "application/json": {
                "schema": schema,
                "examples": {"example": {"value": response.example}},
            }
        }
    return spec


def _table_contents(table: Table[Any]) -> dict[str, Any]:
    text = {"type": "string", "description": f"UTF-8 with a byte order mark. Columns: {', '.join(table.columns)}."}
    return {CSV: {"schema": text, "example": ",".join(table.columns)}, XLSX: {}}


def _headers(descriptions: Mapping[str, str]) -> dict[str, Any]:
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in descriptions.items()}
