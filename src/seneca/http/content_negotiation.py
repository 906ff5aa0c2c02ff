"""Content negotiation: the media type of a response, by the request's Accept header (RFC 9110, 12.5.1).

The framework's ``Accept`` is not used: it chooses types with ``q=0``, and fails on ``q=inf``.
"""

import re
from collections.abc import Iterator, Sequence

from msgspec import Struct

from seneca.http.app_state import Connection

_QUALITY = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?")


class _MediaRange(Struct, frozen=True):
    type: str
    subtype: str
    quality: float
    position: int

    def match(self, media_type: str) -> tuple[bool, bool] | None:
        """How specifically the range names a media type, greater is more specific; None: it does not match."""
        type_, _, subtype = media_type.partition("/")
        if self.type not in ("*", type_) or self.subtype not in ("*", subtype):
            return None
        return self.type != "*", self.subtype != "*"


def choose_media_type(connection: Connection, offers: Sequence[str]) -> str:
    """Choose the offer that the client prefers; the first offer if it accepts none.

    The most specific range that matches an offer decides about it. Among equally preferred offers, a more specific range wins, then
    the range that comes first, then the offer that comes first. Malformed ranges and parameters other than ``q`` are ignored.

    Args:
        connection: the request.
        offers: media types without parameters, the default first.

    """
    values = [value.decode("latin-1") for name, value in connection.scope["headers"] if name == b"accept"]
    ranges = list(_parse(",".join(values)))
    best, best_rank = offers[0], (0.0, (False, False), 0)
    for offer in offers:
        matches = [(match, -range_.position, range_.quality) for range_ in ranges if (match := range_.match(offer))]
        if matches:
            specificity, position, quality = max(matches)
            if quality and (quality, specificity, position) > best_rank:
                best, best_rank = offer, (quality, specificity, position)
    return best


def _parse(accept: str) -> Iterator[_MediaRange]:
    for position, text in enumerate(accept.lower().split(",")):
        media_type, *parameters = (part.strip() for part in text.split(";"))
        type_, _, subtype = media_type.partition("/")
        quality = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        is_range = subtype != "" and (type_ not in ("", "*") or subtype == "*")
        if is_range and _QUALITY.fullmatch(quality):
            yield _MediaRange(type_, subtype, float(quality), position)
