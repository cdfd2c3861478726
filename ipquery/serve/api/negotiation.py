"""Negotiation: in what form an answer is sent (RFC 9110 section 12.5), and whether it is."""

import enum
import re
from collections.abc import Iterator, Sequence


class Media(enum.Enum):
    """Forms of an answer, the preferred one first; the value is the Content-Type."""

    JSON = b"application/json"
    TEXT = b"text/plain; charset=utf-8"
    CSV = b"text/csv; charset=utf-8; header=present"

    @property
    def range(self) -> str:
        """The media type alone."""
        return self.value.decode().partition(";")[0]


# RFC 9110 sections 5.6.4 and 5.6.6: parameters may be quoted, and commas stand in quotes then.
_ELEMENT = re.compile(r'(?:"[^"\\]*+(?:\\.[^"\\]*+)*"|[^,"]++)+')
_QUALITY = re.compile(r";[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*(?=;|$)", re.IGNORECASE)


def choose(accept: str | None) -> Media | None:
    """The form that the caller likes best, ``None`` if there is none it takes.

    Of equally liked ones, one that is named comes before one that a ``*`` stands for, and
    then the order of :class:`Media` decides. Parameters of media ranges are passed over:
    each form comes in one variant only.

    :param accept: the value of Accept; without any media range all are taken.
    """
    forms = list(Media)
    place = preferred(accept, [media.range for media in forms])
    return None if place is None else forms[place]


def preferred(accept: str | None, offered: Sequence[str]) -> int | None:
    """Which of some media types the caller likes best, by its place, as in :func:`choose`.

    :param offered: the first one is taken without any media range.
    """
    wanted = list(_media_ranges(accept or ""))
    if not wanted:
        return 0
    liked = []
    for place, media in enumerate(offered):
        exactness, quality = _best(media, wanted)
        if quality > 0:
            liked.append((quality, exactness, -place))
    return -max(liked)[-1] if liked else None


def _media_ranges(accept: str) -> Iterator[tuple[str, float]]:
    for element in _ELEMENT.findall(accept):
        name = element.partition(";")[0].strip(" \t").lower()
        if "/" not in name:
            continue
        quality = _QUALITY.search(element)
        yield name, float(quality[1]) if quality else 1.0


def _best(media: str, wanted: Sequence[tuple[str, float]]) -> tuple[int, float]:
    """How exactly a type is named, and how much it is liked by what names it most exactly."""
    ranges = ("*/*", media.partition("/")[0] + "/*", media)
    found = [(ranges.index(name), quality) for name, quality in wanted if name in ranges]
    return max(found, default=(0, 0.0))


def is_unchanged(none_match: str | None, etag: str) -> bool:
    """Whether a caller has an answer already (RFC 9110 section 13.1.2).

    :param none_match: the value of If-None-Match.
    :param etag: of the answer; strong. The comparison is weak, as it is for this field.
    """
    if none_match is None:
        return False
    if none_match.strip(" \t") == "*":
        return True
    # Section 8.8.3: an opaque tag has no quotes in it, but commas.
    return etag in re.findall(r'(?:W/)?("[^"]*")', none_match)
