"""Accept (RFC 9110): which of the forms on offer a client wants.

The most specific range that fits a form decides its weight; among equal weights the server's order decides. A form of
weight 0 is refused. The result depends only on the header and the offer, so it is remembered: clients send the same few.
"""

from __future__ import annotations

import re
from functools import lru_cache

from adapters.rest.problems import ProblemError, malformed

_WEIGHT = re.compile(r"(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\Z", re.ASCII)
_RANGE = re.compile(r"[\w!#$&^.+*-]+/[\w!#$&^.+*-]+\Z", re.ASCII)
_LONGEST_HEADER = 4096


@lru_cache(maxsize=512)
def negotiate(accept: str | None, offers: tuple[str, ...]) -> str:
    """The form to answer in; raises ProblemError (not-acceptable, malformed-request)."""
    if accept is None or accept in {"", "*/*"}:
        return offers[0]
    if len(accept) > _LONGEST_HEADER:
        raise malformed("The header Accept is too long.")
    ranges = [each for part in accept.split(",") if (each := _media_range(part)) is not None]
    best, weight = None, 0.0
    for offer in offers:
        quality = _quality(offer, ranges)
        if quality > weight:
            best, weight = offer, quality
    if best is None:
        raise ProblemError("not-acceptable", f"This can be answered as {', '.join(offers)}.")
    return best


def _media_range(part: str) -> tuple[str, float] | None:
    name, *parameters = [piece.strip() for piece in part.split(";")]
    if not name:
        return None
    if not _RANGE.match(name):
        raise malformed("The header Accept is malformed.")
    weight = 1.0
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "q":
            if not _WEIGHT.match(value.strip()):
                raise malformed("The header Accept has a weight that is not between 0 and 1.")
            weight = float(value)
    return name.lower(), weight


def _quality(offer: str, ranges: list[tuple[str, float]]) -> float:
    if offer == "*/*":  # whatever it turns out to be
        return max((weight for _, weight in ranges), default=0.0)
    exact, kind = offer.partition(";")[0], offer.partition("/")[0] + "/*"
    for wanted in (exact, kind, "*/*"):
        weights = [weight for name, weight in ranges if name == wanted]
        if weights:
            return max(weights)
    return 0.0
