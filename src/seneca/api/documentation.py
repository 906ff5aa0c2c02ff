"""The API's documentation over HTTP: the OpenAPI document, and a page that people can read."""

import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler

from seneca import errors
from seneca.api.openapi import document
from seneca.api.operation import Answer, Operation, operation
from seneca.api.problems import Bug
from seneca.api.reply import Reply, encode, reply, text
from seneca.errors import Refusal

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


def documentation(routes: Sequence[HTTPRouteHandler]) -> list[HTTPRouteHandler]:
    """The routes that serve the documentation of these routes."""

    @cache
    def described() -> dict[str, Any]:
        return document(routes)

    @get("/openapi.json", opt=_open("The OpenAPI document."))
    async def openapi_json() -> Reply:
        return reply(described())

    @get("/docs", opt=_open("This documentation as a page."))
    async def docs() -> Reply:
        return text(render(described()), "text/html")

    @get("/docs.css", opt=_open("The page's style."))
    async def docs_css() -> Reply:
        return text(_templates().get_template("docs.css").render(), "text/css")

    @get("/docs.svg", opt=_open("The page's icon."))
    async def docs_svg() -> Reply:
        return text(_templates().get_template("docs.svg").render(), "image/svg+xml")

    return [openapi_json, docs, docs_css, docs_svg]


def _open(description: str) -> dict[str, Operation]:
    return operation(tag="Documentation", who="anyone", answers=[Answer(200, description)])


@cache
def _templates() -> "Environment":
    from jinja2 import Environment, PackageLoader, select_autoescape

    templates = Environment(
        loader=PackageLoader("seneca.api"), autoescape=select_autoescape(), trim_blocks=True, lstrip_blocks=True
    )
    templates.filters["marked"] = _marked
    return templates


def _marked(text: str) -> "Markup":
    """Text for the page: what stands between backticks is code."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 escaped before


def render(described: dict[str, Any]) -> str:
    """The page for people. It needs nothing from elsewhere."""
    kinds: list[type[Refusal]] = [*Refusal.__subclasses__(), Bug]
    refusals = [
        (kind.status, code, title)
        for kind in kinds
        if kind not in (errors.Unusable, errors.FiguresDiffer)
        for code, title in kind.titles().items()
    ]
    return _templates().get_template("docs.html").render(api=described, refusals=sorted(set(refusals)), pretty=_pretty)


def _pretty(value: object) -> str:
    return msgspec.json.format(encode(value), indent=2).decode()
