"""The shapes of what is sent and answered, for :mod:`ipquery.serve.api.openapi`."""

from collections.abc import Iterable, Mapping
from typing import Any

from ipquery.data.snapshot.layout import LANGUAGES
from ipquery.metrics import UPDATE_OUTCOMES
from ipquery.serve.api.problems import KINDS
from ipquery.serve.api.selection import MEMBERS, NESTED
from ipquery.special import V4_BLOCKS, V6_BLOCKS

OPENAPI_PATH = "/openapi.json"
REFERENCE_PATH = "/docs"
ADDRESS = "123.12.23.45"
"""What examples ask for."""

Json = dict[str, Any]


def leaves() -> list[str]:
    """All that may be asked for by ``fields``."""
    return [*MEMBERS, *(f"{member}.{name}" for member, names in NESTED.items() for name in names)]


_TEXTS: Mapping[str, str] = {
    "ip": "The address in its usual spelling (RFC 5952); the IPv4 address of an IPv4-mapped one.",
    "network": "The largest prefix that holds the address and has this answer.",
    "range": "The first and the last address with this answer.",
    "country_code": "ISO 3166-1 alpha-2, and XK for Kosovo.",
    "province_code": "GB/T 2260.",
    "city_code": "GB/T 2260.",
    "isp": "The provider.",
    "continent_code": "AF, AN, AS, EU, NA, OC or SA.",
    "subdivision_code": "ISO 3166-2.",
    "time_zone": "A name of the IANA time zone database.",
    "latitude": "Degrees of WGS 84.",
    "longitude": "Degrees of WGS 84.",
    "accuracy_radius": "Kilometres.",
    "asn": "The number of the autonomous system.",
    "as_org": "Who holds the autonomous system.",
    "sources": "The database that each known field comes from.",
    "snapshot": "Names all databases together; equal on every node that answers from the same.",
}

_NUMBERS: Mapping[str, Json] = {
    "latitude": {"type": ["number", "null"], "minimum": -90, "maximum": 90},
    "longitude": {"type": ["number", "null"], "minimum": -180, "maximum": 180},
    "accuracy_radius": {"type": ["integer", "null"], "minimum": 0},
    "asn": {"type": ["integer", "null"], "minimum": 0, "maximum": 2**32 - 1},
}


_PROBLEM_MEMBERS: Json = {
    "type": {"enum": [f"{REFERENCE_PATH}#problem-{name}" for name in KINDS]},
    "title": {"type": "string"},
    "status": {"enum": sorted({kind.status for kind in KINDS.values()})},
    "detail": {"type": "string"},
}


def schemas() -> Json:
    """By name, as ``#/components/schemas`` has them."""
    return {
        "Address": {
            "type": "string",
            "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}],
            "maxLength": 45,
            "examples": [ADDRESS, "2400:3200::1"],
        },
        "Object": {
            "description": "All members in this order, or those that were asked for.",
            **_closed({name: _member(name) for name in MEMBERS}, ()),
        },
        "Array": {
            "description": "country, country_code, province, province_code, city, city_code, org, "
            'isp. A text that isn\'t known is ``""``, a code that isn\'t known ``"None"``.',
            "type": "array",
            "items": {"type": "string"},
            "minItems": 8,
            "maxItems": 8,
        },
        "Question": {
            "type": "object",
            "properties": {"ip": {"$ref": "#/components/schemas/Address"}},
            "required": ["ip"],
        },
        "ArrayOrNull": {
            "description": "``null`` stands for what is no address, or has no record.",
            "anyOf": [{"$ref": "#/components/schemas/Array"}, {"type": "null"}],
        },
        "Asked": {
            "description": "An address, or one with members and a language of its own. Anything "
            "else is told in its place, too.",
            "anyOf": [
                {"$ref": "#/components/schemas/Address"},
                {
                    "type": "object",
                    "properties": {
                        "ip": {"$ref": "#/components/schemas/Address"},
                        "fields": {
                            "anyOf": [
                                {"type": "string"},
                                {"type": "array", "items": {"enum": leaves()}},
                            ]
                        },
                        "lang": {"enum": list(LANGUAGES)},
                    },
                    "required": ["ip"],
                },
                {},
            ],
        },
        "Entry": {
            "description": "An object, or why there is none.",
            "anyOf": [
                {"$ref": "#/components/schemas/Object"},
                _closed(
                    {
                        "ip": {"type": ["string", "null"]},
                        "error": _closed(
                            {name: _PROBLEM_MEMBERS[name] for name in ("type", "title", "detail")},
                            ("type", "title"),
                        ),
                    }
                ),
            ],
        },
        "Databases": _databases(),
        "NodeStatus": _node_status(),
        "Status": {
            "type": "object",
            "properties": {"status": {"type": "string"}},
            "required": ["status"],
        },
        "Message": _closed({"message": {"type": "string"}}),
        "Problem": {
            "description": "RFC 9457.",
            **_closed(_PROBLEM_MEMBERS, ("type", "title", "status")),
        },
    }


def _closed(properties: Json, required: Iterable[str] | None = None) -> Json:
    """An object without other members, all required unless it is said which."""
    needed = list(properties if required is None else required)
    told = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**told, "required": needed} if needed else told


def _member(name: str) -> Json:
    text = {"description": _TEXTS[name]} if name in _TEXTS else {}
    return {**(_NUMBERS.get(name) or _member_type(name)), **text}


def _member_type(name: str) -> Json:
    if name == "kind":
        return {"enum": sorted({block.kind for block in (*V4_BLOCKS, *V6_BLOCKS)})}
    if name in ("ip", "network", "snapshot"):
        return {"type": "string"}
    if name in NESTED:
        kind = ["string", "null"] if name == "sources" else "string"
        return _closed({below: {"type": kind} for below in NESTED[name]}, ())
    return {"type": ["string", "null"]}


def _databases() -> Json:
    text, number = {"type": ["string", "null"]}, {"type": ["integer", "null"]}
    counts = {"type": ["object", "integer", "null"]}
    source = {
        "name": {"type": "string"},
        "format": text,
        "date": {**text, "format": "date"},
        "age_days": {**number, "minimum": 0},
        "licence": text,
        "attribution": text,
        "ranges": counts,
        "records": number,
    }
    return _closed(
        {
            "snapshot": {"type": "string", "description": _TEXTS["snapshot"]},
            "loaded": {
                "type": "string",
                "format": "date-time",
                "description": "When the process that answers began to use them.",
            },
            "sources": {"type": "array", "items": _closed(source)},
            "counts": {"type": "object", "additionalProperties": counts},
            "coverage": {"type": ["object", "null"]},
            "updates": {
                "description": "When the node looked for newer databases last, and how that ended. "
                "``null`` where it can't be told now.",
                "type": ["array", "null"],
                "items": _closed(
                    {
                        "recipe": {"type": "string"},
                        "tried": {"type": "string", "format": "date-time"},
                        "outcome": {"enum": list(UPDATE_OUTCOMES)},
                    }
                ),
            },
        }
    )


def _node_status() -> Json:
    number = {"type": "integer", "minimum": 0}
    seconds = {"type": ["number", "null"], "minimum": 0}
    return _closed(
        {
            "snapshot": {"type": "string", "description": _TEXTS["snapshot"]},
            "loaded": {"type": "string", "format": "date-time"},
            "uptime_seconds": {
                "type": ["integer", "null"],
                "description": "Since the daemon started.",
            },
            "workers": _closed(
                {
                    "configured": number,
                    "ready": number,
                    "restarts": {**number, "description": "Of workers that had to be replaced."},
                }
            ),
            "window_seconds": {
                "type": "number",
                "description": "Over how long the figures below are counted.",
            },
            "requests_per_second": seconds,
            "latency_seconds": {
                "description": "Half of the requests, and 99 of 100, were in hand for less. "
                "``null`` where there were none.",
                **_closed({"p50": seconds, "p99": seconds}),
            },
        }
    )
