"""Generate the OpenAPI 3.1 document from the routes' declarations."""

import inspect
import re
from collections.abc import Mapping, Sequence
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


class ProblemDetails(Struct, frozen=True):
    """An error as problem details (RFC 9457). `code` is stable; `message` equals `detail`."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    message: str
    errors: list[FieldError] | msgspec.UnsetType = msgspec.UNSET
    session_end: str | msgspec.UnsetType = msgspec.field(name="sessionEnd", default=msgspec.UNSET)


def errors_of(operation: Operation) -> list[type[ApiError]]:
    """Every error that a route can return: those that it declares, and those that follow from the rest of its declaration."""
    kinds: list[type[ApiError]] = [errors.InvalidInput]
    if operation.body is not None:
        kinds += [errors.MalformedJson, errors.RequestTimeout, errors.PayloadTooLarge, errors.UnsupportedMediaType]
    if operation.accepts_any_body:
        kinds += [errors.RequestTimeout, errors.PayloadTooLarge]
    if operation.requires != "anyone" or "X-Setup-Token" in operation.request_headers:
        kinds.append(errors.Unauthenticated)
    if operation.requires in ("user", "admin"):
        kinds.append(errors.Forbidden)
    return [*kinds, *operation.errors, errors.ServiceUnavailable]


def document(routes: Sequence[HTTPRouteHandler]) -> dict[str, Any]:
    """Generate the OpenAPI document of these routes."""
    operations: list[tuple[HTTPRouteHandler, Operation]] = [(route, route.opt["operation"]) for route in routes]
    request_types = [operation.body for _, operation in operations if operation.body is not None]
    response_types = [
        response.body
        for _, operation in operations
        for response in operation.responses
        if response.body not in (None, str)
    ]
    types = [ProblemDetails, *request_types, *response_types]
    _, components = msgspec.json.schema_components(types, ref_template=SCHEMAS)
    _refine_schemas(components)
    paths: dict[str, dict[str, Any]] = {}
    for route, operation in operations:
        path = re.sub(r"\{(\w+):str\}", r"{\1}", next(iter(route.paths)))
        method = next(iter(route.http_methods)).lower()
        paths.setdefault(path, {})[method] = _operation(route, operation, path)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Seneca",
            "version": version("seneca"),
            "description": files("seneca.api").joinpath("guide.md").read_text(encoding="utf-8"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(operation.tag for _, operation in operations)],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": {kind.__name__: _error_response(kind.status, [kind]) for kind in ROUTING_ERRORS},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _refine_schemas(components: dict[str, Any]) -> None:
    """Correct the schemas where the Python types are too general: stored JSON is inserted unparsed, and exact numbers are Decimal."""
    components["Course"]["properties"]["topicsAndModules"] = components["NewCourse"]["properties"]["topicsAndModules"]
    components["AccountChange"]["minProperties"] = 1
    course_members = ("courseTitle", "qualification", "topicsAndModules")
    components["CourseChange"]["anyOf"] = [{"required": [name]} for name in course_members]
    part = {"$ref": SCHEMAS.format(name="Part")}
    for name in ("adaptive", "quiz", "wrongAnswers"):
        components["ModuleResult"]["properties"][name] = part
    for schema in components.values():
        if "description" in schema:  # a docstring
            schema["description"] = inspect.cleandoc(schema["description"])
        for name in ("sessionPoints", "totalSessionPoints"):
            if name in schema.get("properties", {}):
                schema["properties"][name] = {"type": "number"}
        for name in ("id", "userId", "courseId", "sessionId"):
            if schema.get("properties", {}).get(name) == {"type": "string"}:
                schema["properties"][name] = UUID


def _operation(route: HTTPRouteHandler, operation: Operation, path: str) -> dict[str, Any]:
    name = getattr(route.fn, "__name__", "")
    module = getattr(route.fn, "__module__", "").rpartition(".")[2]
    summary, _, description = (route.fn.__doc__ or "").strip().partition("\n")
    spec: dict[str, Any] = {
        "operationId": f"{module}_{name}",
        "tags": [operation.tag],
        "summary": summary.rstrip("."),
        "description": "\n".join(line.strip() for line in description.strip().splitlines()) + _requirement(operation),
        "parameters": _parameters(operation, path),
        "responses": _responses(operation),
        "x-who": operation.requires,
    }
    if operation.requires != "anyone":
        spec["security"] = [{"bearer": []}]
    elif "X-Setup-Token" in operation.request_headers:
        spec["security"] = [{}, {"bearer": []}]
    if operation.body is not None:
        (schema,), _ = msgspec.json.schema_components([operation.body], ref_template=SCHEMAS)
        content = {
            "schema": schema,
            "examples": {"example": {"value": operation.example}},
        }
        spec["requestBody"] = {
            "required": True,
            "content": {"application/json": content},
        }
    if operation.accepts_any_body:
        spec["requestBody"] = {"required": False, "content": {"*/*": {}}}
    return spec


def _requirement(operation: Operation) -> str:
    return {
        "anyone": "",
        "signed-in": "\n\nRequires a token of any role.",
        "user": "\n\nRequires the role `user` (learners).",
        "admin": "\n\nRequires the role `admin` (administrators).",
    }[operation.requires]


def _parameters(operation: Operation, path: str) -> list[dict[str, Any]]:
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
        *({"name": n, "in": "query", "required": False, **QUERY[n]} for n in operation.query),
        *(
            {
                "name": n,
                "in": "header",
                "required": False,
                "description": REQUEST_HEADERS[n],
                "schema": {"type": "string"},
            }
            for n in operation.request_headers
        ),
    ]


def _responses(operation: Operation) -> dict[str, Any]:
    responses = {str(response.status): _success_response(response) for response in operation.responses}
    by_status: dict[int, list[type[ApiError]]] = {}
    for kind in errors_of(operation):
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


def _headers(descriptions: Mapping[str, str]) -> dict[str, Any]:
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in descriptions.items()}
