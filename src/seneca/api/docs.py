"""The API documentation over HTTP: the OpenAPI document, and an HTML page rendered from it."""

import hashlib
import re
import textwrap
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from seneca.courses import matches
from seneca.errors import ApiError, CommandError
from seneca.http.app_state import Request
from seneca.http.endpoint import Endpoint, ResponseSpec, endpoint
from seneca.http.openapi import document
from seneca.http.requests import header
from seneca.http.responses import Response, empty_response, encode, json_response, text_response

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


def docs_endpoints(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    """The endpoints that serve the documentation of ``endpoints``."""

    @cache
    def openapi_document() -> dict[str, Any]:
        return document(endpoints)

    @cache  # the responses cannot change while the server runs
    def cached_document() -> CachedResponse:
        return CachedResponse(json_response(openapi_document()))

    @cache
    def cached_page() -> CachedResponse:
        return CachedResponse(text_response(render(openapi_document()), "text/html"))

    @cache
    def cached_template(name: str, media_type: str) -> CachedResponse:
        return CachedResponse(text_response(_templates().get_template(name).render(), media_type))

    @_page("/openapi.json", "The OpenAPI document.")
    async def openapi_json(request: Request) -> Response:
        return cached_document().respond(request)

    @_page("/", "Redirects to the documentation.")
    async def start(_: Request) -> Response:
        return empty_response(307, {"Location": "/docs"})

    @_page("/docs", "The documentation as an HTML page.")
    async def docs(request: Request) -> Response:
        return cached_page().respond(request)

    @_page("/docs.css", "The page's style sheet.")
    async def docs_css(request: Request) -> Response:
        return cached_template("docs.css", "text/css").respond(request)

    @_page("/docs.svg", "The page's icon.")
    async def docs_svg(request: Request) -> Response:
        return cached_template("docs.svg", "image/svg+xml").respond(request)

    return [openapi_json, start, docs, docs_css, docs_svg]


class CachedResponse:
    """A response that is rendered once, with an ETag."""

    def __init__(self, response: Response) -> None:
        self._etag = f'"{hashlib.blake2b(response.body, digest_size=12).hexdigest()}"'
        self._response = response
        self._response.headers.append((b"etag", self._etag.encode()))
        self._not_modified = empty_response(304, {"ETag": self._etag})

    def respond(self, request: Request) -> Response:
        """The response, or a 304 if the client's copy is current."""
        condition = header(request, b"if-none-match")
        if condition is not None and matches(condition, self._etag):
            return self._not_modified
        return self._response


def _page(path: str, description: str) -> Endpoint:
    return endpoint("GET", path, tag="Documentation", requires="anyone", responses=[ResponseSpec(200, description)])


@cache
def _templates() -> "Environment":
    from jinja2 import Environment, PackageLoader, select_autoescape

    templates = Environment(
        loader=PackageLoader("seneca.api"), autoescape=select_autoescape(), trim_blocks=True, lstrip_blocks=True
    )
    templates.filters |= {"inline": _inline, "blocks": _blocks}
    return templates


def _inline(text: str) -> "Markup":
    """Render inline Markdown: text between backticks becomes code."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"(`+)(.+?)\1", r"<code>\2</code>", str(escape(text)), flags=re.DOTALL))  # noqa: S704 escaped before


def _blocks(text: str) -> "Markup":
    """Render block Markdown: paragraphs, second-level headings and indented code."""
    from markupsafe import Markup

    rendered = []
    for block in re.split(r"\n\n+", text.strip()):
        if block.startswith("## "):
            name = block.removeprefix("## ")
            heading = Markup('<h2 id="{}">{}</h2>')
            rendered.append(heading.format(name.lower().replace(" ", "-"), name))
        elif block.startswith("    "):
            rendered.append(Markup("<pre>{}</pre>").format(textwrap.dedent(block)))
        else:
            rendered.append(Markup("<p>{}</p>").format(_inline(block)))
    return Markup("\n").join(rendered)


def render(api: dict[str, Any]) -> str:
    """Render the HTML page of an OpenAPI document. It loads nothing from other hosts."""
    kinds = _subclasses(ApiError)
    error_rows = [
        (kind.status, code, title)
        for kind in kinds
        if not issubclass(kind, CommandError)
        for code, title in kind.titles().items()
    ]
    guide = re.findall(r"^## (.+)$", api["info"]["description"], re.MULTILINE)
    return (
        _templates()
        .get_template("docs.html")
        .render(api=api, guide=guide, errors=sorted(set(error_rows)), pretty=_pretty)
    )


def _subclasses(kind: type[ApiError]) -> Iterator[type[ApiError]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def _pretty(value: object) -> str:
    return msgspec.json.format(encode(value), indent=2).decode()
