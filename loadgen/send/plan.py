"""What a run is to do: bounded in time and number, and only where it is allowed."""

import ipaddress
import json
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs

from ipquery.serve.api import contract

# A run ends, whatever was asked for.
MOST_SECONDS = 3600.0
MOST_REQUESTS = 1_000_000_000
# More than one client address has ports for.
MOST_CONNECTIONS = 60_000
MOST_PROCESSES = 256
MOST_RATE = 10_000_000.0
MOST_PIPELINED = 1000

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h)?")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e]*)")
# What says where a message ends, or to whom it goes, is the generator's to write.
_OWN_HEADERS = ("connection", "content-length", "host", "transfer-encoding")


class PlanError(Exception):
    """A run that can't or mustn't be done. The message is one line for the user."""


@attrs.frozen
class Target:
    """Where requests go."""

    host: str
    """As the URL has it: for the Host header and the certificate."""
    port: int
    peer: str
    """The IP address that connections are made to; it is looked up once, so that
    what was checked is what is asked."""
    path: str = contract.QUERY_PATH
    tls: bool = False

    @property
    def url(self) -> str:
        """The URL."""
        return f"{'https' if self.tls else 'http'}://{self.authority}{self.path}"

    @property
    def authority(self) -> str:
        """Host and port, as the Host header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def parse_target(url: str, owned: Sequence[str] = ()) -> Target:
    """Read a URL, and find out whether it may be asked.

    :param owned: hosts the user has said to own; others must be on loopback.
    :raises PlanError: no such URL or host, or it isn't the user's.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise PlanError(f"{url}: not a URL: {error}") from None
    host = parts.hostname
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        raise PlanError(f"{url}: give http://HOST:PORT/ or https://HOST:PORT/")
    path = parts.path if parts.path not in ("", "/") else contract.QUERY_PATH
    if parts.query:
        path = f"{path}?{parts.query}"
    if not path.isascii() or any(sign <= " " for sign in path):
        raise PlanError(f"{url}: the path holds characters that must be percent-encoded")
    tls = parts.scheme == "https"
    port = port or (443 if tls else 80)
    peers = _resolve(host, port)
    if host not in owned and not all(ipaddress.ip_address(peer).is_loopback for peer in peers):
        raise PlanError(
            f"{host} is not this machine; load on others' servers is an attack. "
            f"If it is yours: --yes-i-own {host}"
        )
    return Target(host, port, peers[0], path, tls)


def _resolve(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        raise PlanError(f"{host}: no such host") from None
    return [str(name[0]).partition("%")[0] for *_, name in found]


def parse_duration(text: str) -> float:
    """Read ``60s``, ``500ms``, ``2m`` or a number of seconds.

    :raises PlanError: it is none of these, or nothing.
    """
    match = _DURATION.fullmatch(text)
    seconds = float(match[1]) * _UNITS[match[2] or "s"] if match else 0
    if seconds <= 0:
        raise PlanError(f"{text}: not a time; give for example 60s, 500ms or 2m")
    return seconds


def parse_mix(text: str) -> float:
    """Read ``get=8,post=2``.

    :returns: the share of POST, from 0 to 1.
    :raises PlanError: another method, or not whole numbers.
    """
    weights = {"get": 0, "post": 0}
    for part in text.split(","):
        name, _, weight = part.partition("=")
        if name not in weights or not (weight.isdecimal() and weight.isascii()):
            raise PlanError(f"{text}: not a mix of methods; give for example get=8,post=2")
        weights[name] += int(weight)
    if not any(weights.values()):
        raise PlanError(f"{text}: a mix of nothing; give for example get=8,post=2")
    return weights["post"] / sum(weights.values())


def parse_header(text: str) -> tuple[str, str]:
    """Read ``Name: value``.

    :raises PlanError: it is no header field, or one that the generator writes itself.
    """
    match = _HEADER.fullmatch(text)
    if match is None:
        raise PlanError(f"{text!a}: not a header; give 'Name: value' in ASCII")
    if match[1].lower() in _OWN_HEADERS:
        raise PlanError(f"{match[1]}: this header is the generator's own; leave it out")
    return match[1], match[2].strip()


def _between(least: float, most: float, what: str) -> Any:
    def check(instance: object, attribute: object, value: float) -> None:
        if not least <= value <= most:
            raise PlanError(f"{value:,g} {what}: give {least:,g} to {most:,g}")

    return check


@attrs.frozen
class Plan:
    """One run. Everything that a process of it needs to know.

    :raises PlanError: a number is out of bounds.
    """

    target: Target
    connections: int = attrs.field(
        default=64, validator=_between(1, MOST_CONNECTIONS, "connections")
    )
    processes: int = attrs.field(default=1, validator=_between(1, MOST_PROCESSES, "processes"))
    seconds: float = attrs.field(default=10, validator=_between(0.01, MOST_SECONDS, "seconds"))
    requests: int = attrs.field(
        default=MOST_REQUESTS, validator=_between(1, MOST_REQUESTS, "requests")
    )
    rate: float | None = attrs.field(
        default=None,
        validator=attrs.validators.optional(_between(0.1, MOST_RATE, "requests a second")),
    )
    """Requests a second of the open loop; without it, the loop is closed."""
    post_share: float = 0
    addresses: str = "uniform"
    ipv6_share: float = attrs.field(default=0, validator=_between(0, 1, "as IPv6 share"))
    seed: int = attrs.field(default=1, validator=_between(0, 2**63, "as seed"))
    keep_alive: bool = True
    pipeline: int = attrs.field(
        default=1, validator=_between(1, MOST_PIPELINED, "pipelined requests")
    )
    timeout: float = attrs.field(
        default=10, validator=_between(0.001, MOST_SECONDS, "seconds of time-out")
    )
    headers: tuple[tuple[str, str], ...] = ()
    expect: str | None = None
    """Path of the snapshot that every answer is checked against."""
    database: str | None = None
    """Path of the snapshot that addresses of a country are taken from."""
    ca: str | None = None
    """Path of a PEM file with certificates to trust instead of the system's."""
    cores: tuple[int, ...] = ()
    """Cores to keep to, one process after the other; none: wherever."""
    number: int = 0
    """Which process of the run this is, from 0."""

    def __attrs_post_init__(self) -> None:
        if self.processes > self.connections:
            raise PlanError(
                f"{self.processes} processes for {self.connections} connections: "
                "give each at least one"
            )
        if not self.keep_alive and self.pipeline > 1:
            raise PlanError("requests can't be pipelined on a connection that ends after one")

    def of_process(self, number: int) -> "Plan":
        """The share of one process."""
        return attrs.evolve(
            self,
            connections=_share(self.connections, self.processes, number),
            requests=max(_share(self.requests, self.processes, number), 1),
            rate=self.rate and self.rate / self.processes,
            processes=1,
            number=number,
            cores=(self.cores[number % len(self.cores)],) if self.cores else (),
        )

    def encode(self) -> str:
        """As JSON."""
        return json.dumps(attrs.asdict(self))


def decode(text: str) -> Plan:
    """A plan from its JSON."""
    given = json.loads(text)
    given["target"] = Target(**given["target"])
    given["headers"] = tuple((name, value) for name, value in given["headers"])
    given["cores"] = tuple(given["cores"])
    return Plan(**given)


def readable(path: str) -> str:
    """A path that can be read, made absolute.

    :raises PlanError: it can't.
    """
    try:
        with Path(path).open("rb"):
            return str(Path(path).absolute())
    except OSError as error:
        raise PlanError(f"{path}: can't read this file: {error.strerror}") from None


def _share(total: int, parts: int, number: int) -> int:
    return total // parts + (number < total % parts)
