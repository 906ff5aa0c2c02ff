"""The OpenAPI 3.1 document, made from what the routes declare."""

import re
from collections.abc import Sequence
from importlib.metadata import version
from importlib.resources import files
from typing import Any, Final

import msgspec
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from seneca import errors
from seneca.common import text_types
from seneca.errors import ApiError, FieldError
from seneca.http import pagination
from seneca.http.endpoint import Operation, ResponseSpec

SCHEMAS: Final = "#/components/schemas/{name}"
UUID: Final = {"type": "string", "format": "uuid"}
QUERY: Final[dict[str, dict[str, Any]]] = {
    "limit": {
        "description": "How many entries a page has at most.",
        "schema": {
            "type": "integer",
            "minimum": 1,
            "maximum": pagination.MOST,
            "default": pagination.DEFAULT,
        },
    },
    "cursor": {
        "description": "Where the page begins: from the `Link` header of the page before.",
        "schema": {"type": "string"},
    },
    "q": {
        "description": "Only entries that contain this, in capitals or not.",
        "schema": {"type": "string", "maxLength": pagination.MAX_QUERY_CHARACTERS, "pattern": text_types.NO_NUL},
    },
}
REQUEST_HEADERS: Final = {
    "If-Match": "Only if the stored version is this one.",
    "If-None-Match": "Only if the stored version is another one.",
    "X-Setup-Token": "The setup token, for the first administrator.",
}
EVERYWHERE: Final = (errors.RouteNotFound, errors.MethodNotAllowed)  # what no operation answers, but the server does
ERROR_HEADERS: Final = {
    401: {"WWW-Authenticate": "How to authenticate."},
    405: {"Allow": "The methods that the path takes."},
    429: {"Retry-After": "Seconds to wait before trying again."},
    503: {"Retry-After": "Seconds to wait before trying again."},
}


class Problem(Struct, frozen=True):
    """Why something was not done (RFC 9457). `code` is stable; `message` equals `detail`."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    message: str
    errors: list[FieldError] | msgspec.UnsetType = msgspec.UNSET
    session_end: str | msgspec.UnsetType = msgspec.field(name="sessionEnd", default=msgspec.UNSET)


def errors_of(declared: Operation) -> list[type[ApiError]]:
    """Every refusal that a route can answer with, its own and those that any like it can."""
    found: list[type[ApiError]] = [errors.InvalidInput]
    if declared.body is not None:
        found += [errors.MalformedJson, errors.RequestTimeout, errors.PayloadTooLarge, errors.UnsupportedMediaType]
    if declared.accepts_any_body:
        found += [errors.RequestTimeout, errors.PayloadTooLarge]
    if declared.requires != "anyone" or "X-Setup-Token" in declared.request_headers:
        found.append(errors.Unauthenticated)
    if declared.requires in ("user", "admin"):
        found.append(errors.Forbidden)
    return [*found, *declared.errors, errors.ServiceUnavailable]


def document(routes: Sequence[HTTPRouteHandler]) -> dict[str, Any]:
    """The OpenAPI document of these routes."""
    declared = [(route, route.opt["operation"]) for route in routes]
    bodies = [d.body for _, d in declared if d.body is not None]
    answers = [a.body for _, d in declared for a in d.responses if a.body not in (None, str)]
    _, components = msgspec.json.schema_components([Problem, *bodies, *answers], ref_template=SCHEMAS)
    _mend(components)
    paths: dict[str, dict[str, Any]] = {}
    for route, operation_ in declared:
        path = re.sub(r"\{(\w+):str\}", r"{\1}", next(iter(route.paths)))
        method = next(iter(route.http_methods)).lower()
        paths.setdefault(path, {})[method] = _operation(route, operation_, path)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Seneca",
            "version": version("seneca"),
            "description": files("seneca.api").joinpath("guide.md").read_text(encoding="utf-8"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(d.tag for _, d in declared)],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": {kind.__name__: _refused(kind.status, [kind]) for kind in EVERYWHERE},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _mend(components: dict[str, Any]) -> None:
    """Say what the types cannot: stored JSON is spliced into answers unparsed, exact numbers are Decimal."""
    components["Course"]["properties"]["topicsAndModules"] = components["NewCourse"]["properties"]["topicsAndModules"]
    components["Change"]["minProperties"] = 1
    one_of = ("courseTitle", "qualification", "topicsAndModules")
    components["CourseChange"]["anyOf"] = [{"required": [name]} for name in one_of]
    part = {"$ref": SCHEMAS.format(name="Part")}
    for name in ("adaptive", "quiz", "wrongAnswers"):
        components["ModuleResult"]["properties"][name] = part
    for schema in components.values():
        for name in ("sessionPoints", "totalSessionPoints"):
            if name in schema.get("properties", {}):
                schema["properties"][name] = {"type": "number"}
        for name in ("id", "userId", "courseId", "sessionId"):
            if schema.get("properties", {}).get(name) == {"type": "string"}:
                schema["properties"][name] = UUID


def _operation(route: HTTPRouteHandler, declared: Operation, path: str) -> dict[str, Any]:
    name = getattr(route.fn, "__name__", "")
    module = getattr(route.fn, "__module__", "").rpartition(".")[2]
    summary, _, description = (route.fn.__doc__ or "").strip().partition("\n")
    made: dict[str, Any] = {
        "operationId": f"{module}_{name}",
        "tags": [declared.tag],
        "summary": summary.rstrip("."),
        "description": "\n".join(line.strip() for line in description.strip().splitlines()) + _who(declared),
        "parameters": _parameters(declared, path),
        "responses": _responses(declared),
        "x-who": declared.requires,
    }
    if declared.requires != "anyone":
        made["security"] = [{"bearer": []}]
    elif "X-Setup-Token" in declared.request_headers:
        made["security"] = [{}, {"bearer": []}]
    if declared.body is not None:
        (schema,), _ = msgspec.json.schema_components([declared.body], ref_template=SCHEMAS)
        content = {
            "schema": schema,
            "examples": {"example": {"value": declared.example}},
        }
        made["requestBody"] = {
            "required": True,
            "content": {"application/json": content},
        }
    if declared.accepts_any_body:
        made["requestBody"] = {"required": False, "content": {"*/*": {}}}
    return made


def _who(declared: Operation) -> str:
    return {
        "anyone": "",
        "signed-in": "\n\nFor anyone who is signed in.",
        "user": "\n\nFor learners (role `user`).",
        "admin": "\n\nFor administrators (role `admin`).",
    }[declared.requires]


def _parameters(declared: Operation, path: str) -> list[dict[str, Any]]:
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
        *({"name": n, "in": "path", "required": True, "schema": schema(n)} for n in re.findall(r"\{(\w+)\}", path)),
        *({"name": n, "in": "query", "required": False, **QUERY[n]} for n in declared.query),
        *(
            {
                "name": n,
                "in": "header",
                "required": False,
                "description": REQUEST_HEADERS[n],
                "schema": {"type": "string"},
            }
            for n in declared.request_headers
        ),
    ]


def _responses(declared: Operation) -> dict[str, Any]:
    responses = {str(answer.status): _answer(answer) for answer in declared.responses}
    by_status: dict[int, list[type[ApiError]]] = {}
    for refusal in errors_of(declared):
        by_status.setdefault(refusal.status, []).append(refusal)
    for status, refusals in sorted(by_status.items()):
        responses[str(status)] = _refused(status, refusals)
    return responses


def _refused(status: int, refusals: Sequence[type[ApiError]]) -> dict[str, Any]:
    return {
        "description": " ".join(f"{title} (`{code}`)." for r in refusals for code, title in r.titles().items()),
        "headers": _headers(ERROR_HEADERS.get(status, {})),
        "content": {"application/problem+json": {"schema": {"$ref": SCHEMAS.format(name="Problem")}}},
    }


def _answer(answer: ResponseSpec) -> dict[str, Any]:
    made: dict[str, Any] = {"description": answer.description}
    if answer.headers:
        made["headers"] = _headers(answer.headers)
    if answer.body is str:
        made["content"] = {"text/plain": {"schema": {"type": "string"}, "example": answer.example}}
    elif answer.body is not None:
        (schema,), _ = msgspec.json.schema_components([answer.body], ref_template=SCHEMAS)
        made["content"] = {
            "application/json": {
                "schema": schema,
                "examples": {"example": {"value": answer.example}},
            }
        }
    return made


def _headers(described: Any) -> dict[str, Any]:
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in described.items()}
