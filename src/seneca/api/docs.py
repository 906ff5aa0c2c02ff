"""The API's documentation over HTTP: the OpenAPI document, and a page that people can read."""

import hashlib
import re
import textwrap
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Request, get
from litestar.handlers import HTTPRouteHandler

from seneca import errors
from seneca.courses import matches
from seneca.errors import ApiError
from seneca.http.endpoint import Operation, ResponseSpec, operation
from seneca.http.headers import header
from seneca.http.openapi import document
from seneca.http.problem_details import InternalError
from seneca.http.responses import JsonResponse, empty_response, encode, json_response, text_response

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


AnyRequest = Request[Any, Any, Any]


def docs_routes(routes: Sequence[HTTPRouteHandler]) -> list[HTTPRouteHandler]:
    """The routes that serve the documentation of these routes."""

    @cache
    def described() -> dict[str, Any]:
        return document(routes)

    @cache  # what follows is the same until the server is another one
    def kept_document() -> CachedResponse:
        return CachedResponse(json_response(described()))

    @cache
    def kept_page() -> CachedResponse:
        return CachedResponse(text_response(render(described()), "text/html"))

    @cache
    def kept_template(name: str, media_type: str) -> CachedResponse:
        return CachedResponse(text_response(_templates().get_template(name).render(), media_type))

    @get("/openapi.json", opt=_open("The OpenAPI document."))
    async def openapi_json(request: AnyRequest) -> JsonResponse:
        return kept_document().answer(request)

    @get("/", opt=_open("Where people begin: the documentation."))
    async def start() -> JsonResponse:
        return empty_response(307, {"Location": "/docs"})

    @get("/docs", opt=_open("This documentation as a page."))
    async def docs(request: AnyRequest) -> JsonResponse:
        return kept_page().answer(request)

    @get("/docs.css", opt=_open("The page's style."))
    async def docs_css(request: AnyRequest) -> JsonResponse:
        return kept_template("docs.css", "text/css").answer(request)

    @get("/docs.svg", opt=_open("The page's icon."))
    async def docs_svg(request: AnyRequest) -> JsonResponse:
        return kept_template("docs.svg", "image/svg+xml").answer(request)

    return [openapi_json, start, docs, docs_css, docs_svg]


class CachedResponse:
    """An answer that is made once, and the validator of its content."""

    def __init__(self, whole: JsonResponse) -> None:
        self._etag = f'"{hashlib.blake2b(whole.body, digest_size=12).hexdigest()}"'
        self._whole = whole
        self._whole.headers.append((b"etag", self._etag.encode()))
        self._unchanged = empty_response(304, {"ETag": self._etag})

    def answer(self, request: AnyRequest) -> JsonResponse:
        """The whole, or 304 to a client that has it."""
        condition = header(request, b"if-none-match")
        return self._whole if condition is None or not matches(condition, self._etag) else self._unchanged


def _open(description: str) -> dict[str, Operation]:
    return operation(tag="Documentation", requires="anyone", responses=[ResponseSpec(200, description)])


@cache
def _templates() -> "Environment":
    from jinja2 import Environment, PackageLoader, select_autoescape

    templates = Environment(
        loader=PackageLoader("seneca.api"), autoescape=select_autoescape(), trim_blocks=True, lstrip_blocks=True
    )
    templates.filters |= {"inline": _inline, "blocks": _blocks}
    return templates


def _inline(text: str) -> "Markup":
    """Text for the page: what stands between backticks is code."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"(`+)(.+?)\1", r"<code>\2</code>", str(escape(text)), flags=re.DOTALL))  # noqa: S704 escaped before


def _blocks(text: str) -> "Markup":
    """The Markdown that this documentation uses: paragraphs, headings of the second level, and indented code."""
    from markupsafe import Markup

    made = []
    for block in re.split(r"\n\n+", text.strip()):
        if block.startswith("## "):
            name = block.removeprefix("## ")
            heading = Markup('<h2 id="{}">{}</h2>')
            made.append(heading.format(name.lower().replace(" ", "-"), name))
        elif block.startswith("    "):
            made.append(Markup("<pre>{}</pre>").format(textwrap.dedent(block)))
        else:
            made.append(Markup("<p>{}</p>").format(_inline(block)))
    return Markup("\n").join(made)


def render(described: dict[str, Any]) -> str:
    """The page for people. It needs nothing from elsewhere."""
    kinds: list[type[ApiError]] = [*ApiError.__subclasses__(), InternalError]
    refusals = [
        (kind.status, code, title)
        for kind in kinds
        if kind not in (errors.CommandError, errors.TotalsMismatch)
        for code, title in kind.titles().items()
    ]
    guide = re.findall(r"^## (.+)$", described["info"]["description"], re.MULTILINE)
    return (
        _templates()
        .get_template("docs.html")
        .render(api=described, guide=guide, errors=sorted(set(refusals)), pretty=_pretty)
    )


def _pretty(value: object) -> str:
    return msgspec.json.format(encode(value), indent=2).decode()
