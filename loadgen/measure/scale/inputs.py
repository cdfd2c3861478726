"""What is computed from: what was measured, and what is assumed, each in a file of its own."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import attrs
from attrs.validators import and_, deep_iterable, ge, gt, le, lt, min_len
from cattrs import BaseValidationError, Converter, transform_error
from cattrs.v import format_exception

HERE = Path(__file__).parent
MEASURED, ASSUMED = HERE / "measured.toml", HERE / "assumed.toml"

_T = TypeVar("_T")

_Validator = Callable[[Any, "attrs.Attribute[Any]", Any], Any]

_positive: _Validator = gt(0)
_not_negative: _Validator = ge(0)
_share: _Validator = and_(gt(0), lt(1))
_chance: _Validator = and_(ge(0), le(1))
_some_positive: _Validator = and_(min_len(1), deep_iterable(gt(0)))
_none_negative: _Validator = and_(min_len(1), deep_iterable(ge(0)))


class InputError(Exception):
    """A file of figures can't be used: one line that says what is wrong, and where."""


def _rising(_: object, field: "attrs.Attribute[tuple[float, float]]", bounds: object) -> None:
    assert isinstance(bounds, tuple)
    if not 0 <= bounds[0] <= bounds[1]:
        raise ValueError(f"{field.name} has to be two times, the earlier one first")


@attrs.frozen
class Load:
    """Answers at a rate, measured: times in seconds."""

    share: float = attrs.field(validator=_share)
    """Of the most that the worker did."""
    utilisation: float = attrs.field(validator=_positive)
    """Of the worker's core, by the processor time that it took."""
    p50: float = attrs.field(validator=_positive)
    p99: float = attrs.field(validator=_positive)


@attrs.frozen
class Measured:
    """What ``python -m loadgen.bench.scale`` has found. Times in seconds."""

    provenance: str
    """Where, when and by which command it was measured."""
    direct_cpu: float = attrs.field(validator=_positive)
    """Processor time of a look-up, asked directly."""
    node_cpu: float = attrs.field(validator=_positive)
    """The same behind nginx."""
    nginx_cpu: float = attrs.field(validator=_positive)
    """What nginx takes to pass one on."""
    most: float = attrs.field(validator=_positive)
    """Requests a second that one worker did, on a core of its own."""
    beyond: tuple[float, ...] = attrs.field(validator=_none_negative)
    """By how much the answers to a lone caller took longer than usual: its quantiles, evenly
    spread, the lower ones 0."""
    loads: tuple[Load, ...]
    starts: tuple[float, ...] = attrs.field(validator=_some_positive)
    """From the start of the daemon to its first answer, with the snapshot in its cache folder."""
    replacements: tuple[float, ...] = attrs.field(validator=_some_positive)
    """From the death of the only worker to the next answer."""
    reloads: tuple[float, ...] = attrs.field(validator=_some_positive)
    """From HUP, with another snapshot in place, until all workers answer from it."""
    snapshot_bytes: int = attrs.field(validator=_positive)
    answer_bytes: int = attrs.field(validator=_positive)
    """Of a request and its answer, with their heads."""

    @property
    def service(self) -> tuple[float, ...]:
        """What a request takes a worker: its processor time, and now and then a pause."""
        return tuple(self.direct_cpu + beyond for beyond in self.beyond)


@attrs.frozen
class Plan:
    """How a site is laid out."""

    requests_per_second: tuple[float, ...] = attrs.field(validator=_some_positive)
    """Rows of the table of costs; the last is what all other tables are about."""
    utilisation: float = attrs.field(validator=_share)
    """Share of the cores that the worst minute may use."""
    utilisation_without_a_rack: float = attrs.field(validator=_share)
    racks: int = attrs.field(validator=ge(2))
    cores: int = attrs.field(validator=ge(1))
    """Of a node, and of a host with nginx."""
    network_cpu: float = attrs.field(validator=_not_negative)
    """Processor time in seconds that a request and its answer cost a host in interrupts."""
    watched_seconds: float = attrs.field(validator=_positive)
    """How long after a failure is looked at."""


@attrs.frozen
class Front:
    """What stands before the nodes, and how it notices that one is gone. Times in seconds."""

    name: str
    hosts: int = attrs.field(validator=ge(1))
    """How many there are, each of which notices for itself; for DNS those who keep its answers."""
    tries: int = attrs.field(default=1, validator=ge(1))
    """How many nodes it asks, one after the other, before a request fails."""
    silence: float = attrs.field(default=0.0, validator=_not_negative)
    """After which it asks another node."""
    gives_up: float = attrs.field(default=float("inf"), validator=_positive)
    """After which it asks no other node."""
    failures: int = attrs.field(default=0, validator=_not_negative)
    """Failed requests after which it leaves a node alone; 0 if it finds out by checks."""
    left_alone: float = attrs.field(default=0.0, validator=_not_negative)
    """For so long, until one request tries the node again."""
    silent: tuple[float, float] = attrs.field(default=(0.0, 0.0), validator=_rising)
    """How long its checks take to notice a node that says nothing."""
    refused: tuple[float, float] = attrs.field(default=(0.0, 0.0), validator=_rising)
    """The same of one whose connections are refused."""
    lingers: float = attrs.field(default=0.0, validator=_not_negative)
    """For how long those who had been told of a node before may go on asking it."""


@attrs.frozen
class Autoscaler:
    """Kubernetes' HorizontalPodAutoscaler. Times in seconds."""

    least: int = attrs.field(validator=ge(1))
    most: int = attrs.field(validator=ge(1))
    target: float = attrs.field(validator=_share)
    pod_cores: int = attrs.field(validator=ge(1))
    every: float = attrs.field(validator=_positive)
    """How often it looks."""
    tolerance: float = attrs.field(validator=_not_negative)
    """Within this share of the target nothing changes."""
    behind: float = attrs.field(validator=_not_negative)
    """How old the utilisation is that it sees."""
    ready: float = attrs.field(validator=_not_negative)
    """From its decision until a new pod answers."""
    pods: int = attrs.field(validator=ge(1))
    """That there are before the load grows, at the target."""


@attrs.frozen
class Growth:
    """A load that grows."""

    times: float = attrs.field(validator=ge(1))
    over_seconds: float = attrs.field(validator=_not_negative)


@attrs.frozen
class Rollout:
    """How a bad snapshot gets to nodes. Times in seconds."""

    nodes: int = attrs.field(validator=ge(2))
    every: float = attrs.field(validator=_positive)
    """How often nodes ask for a new snapshot."""
    jitter: float = attrs.field(validator=_not_negative)
    wrong: float = attrs.field(validator=_chance)
    """Share of the requests that a bad snapshot, which no guard refuses, answers wrongly."""
    noticed: float = attrs.field(validator=_positive)
    """By callers: the mean of how long after all nodes have it."""
    decided: float = attrs.field(validator=_not_negative)
    """From then until somebody says ``ipquery rollback``."""
    canaries: int = attrs.field(validator=ge(1))
    """Nodes that have it first."""
    watched: float = attrs.field(validator=_positive)
    """For how long, before the others get it."""
    found: float = attrs.field(validator=_chance)
    """Chance that whoever watches finds what is wrong."""


@attrs.frozen
class Link:
    """Where nodes have their snapshots from."""

    name: str
    gigabits: float = attrs.field(validator=_positive)
    """A second, of each server."""
    servers: int = attrs.field(validator=_not_negative)
    """0: as many as are needed, so that each node's own link is what counts."""


@attrs.frozen
class Price:
    """What a core costs, with its memory."""

    name: str
    currency: str
    core_month: float = attrs.field(validator=_positive)


@attrs.frozen
class Assumed:
    """What nobody measured here: how a site is laid out, how others are configured, prices."""

    plan: Plan
    fronts: tuple[Front, ...] = attrs.field(validator=min_len(1))
    autoscaler: Autoscaler
    growths: tuple[Growth, ...]
    rollout: Rollout
    node_gigabits: float = attrs.field(validator=_positive)
    """Of a node's own link."""
    fleet: tuple[int, ...] = attrs.field(validator=_some_positive)
    """Numbers of nodes to hand a snapshot to."""
    links: tuple[Link, ...]
    prices: tuple[Price, ...]


def read_measured(path: Path = MEASURED) -> Measured:
    """:raises InputError: it isn't there, or isn't what it should be."""
    return _read(path, Measured)


def read_assumed(path: Path = ASSUMED) -> Assumed:
    """:raises InputError: it isn't there, or isn't what it should be."""
    return _read(path, Assumed)


def _read(path: Path, kind: type[_T]) -> _T:
    try:
        found = tomllib.loads(path.read_text("utf-8"))
        return Converter(forbid_extra_keys=True).structure(found, kind)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: {error}") from None
    except BaseValidationError as error:
        raise InputError(f"{path}: {transform_error(error, 'the file', _said)[0]}") from None


def _said(error: BaseException, kind: type | None) -> str:
    """What is wrong: validators say it, and name the field; cattrs says it of what it converts."""
    return str(error) if type(error) is ValueError else format_exception(error, kind)
