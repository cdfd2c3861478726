"""The service that ipquery replaced, rebuilt from its description.

Flask under gunicorn's gevent worker. Each worker reads the database into a
tree of Python objects: first octet, then the ranges in order. A look-up walks
it, and a JSON encoder runs for every answer.
"""

import bisect
import socket
import struct
from typing import Any

import attrs
from flask import Flask, Response, jsonify, request

from ipquery.address import to_text
from loadgen.peers.records import answer, open_database


@attrs.define
class Node:
    """A range in the tree."""

    end: int
    fields: dict[str, str]


NAMES = (
    "country",
    "country_code",
    "province",
    "province_code",
    "city",
    "city_code",
    "org",
    "isp",
)


def _read_tree() -> dict[int, tuple[list[int], list[Node]]]:
    tree: dict[int, tuple[list[int], list[Node]]] = {}
    with open_database() as db:
        for first, last, _ in db.ranges(4):
            start = first
            fields = dict(zip(NAMES, answer(db, to_text(4, start)) or [], strict=False))
            while start <= last:
                octet = start >> 24
                end = min(last, ((octet + 1) << 24) - 1)
                ends, nodes = tree.setdefault(octet, ([], []))
                ends.append(end)
                nodes.append(Node(end, dict(fields)))
                start = end + 1
    return tree


TREE = _read_tree()
app = Flask(__name__)


def _look_up(ip: str) -> list[str] | None:
    number = struct.unpack("!I", socket.inet_aton(ip))[0]
    ends, nodes = TREE.get(number >> 24, ([], []))
    place = bisect.bisect_left(ends, number)
    if place == len(nodes) or not nodes[place].fields:
        return None
    return [nodes[place].fields[name] for name in NAMES]


@app.route("/api/ip_query", methods=["GET", "POST"])
def ip_query() -> tuple[Response, int]:
    """Answer a look-up."""
    given: Any = request.get_json() if request.method == "POST" else request.args
    ip = given.get("ip", "")
    try:
        found = _look_up(ip)
    except OSError:
        return jsonify(message="not an ip"), 400
    if found is None:
        return jsonify(message=f"no ip info in ip db for ip: {ip}"), 501
    return jsonify(found), 200
