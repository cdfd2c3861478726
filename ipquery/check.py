"""What a start or a reload would refuse, without either.

Everything is looked at by the code that a start itself runs, see :mod:`ipquery.fleet.start`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

from ipquery.config import Config, ConfigError
from ipquery.data.build import Report, recognise
from ipquery.data.codes.lists import load_lists
from ipquery.data.record import DataError
from ipquery.fleet.start import (
    build_snapshot,
    check_access_log,
    check_databases,
    how_withheld,
)
from ipquery.fleet.state import check_binds
from ipquery.net.sockets import BindError, InUseError, Listeners, close_all, open_listeners


@attrs.frozen
class Findings:
    """What a check has found, each a line: ``problems`` refuse a start, ``notes`` don't."""

    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    """Of the databases, in order; ``snapshot`` for a snapshot."""
    snapshot: Path | None = None
    """What a start would answer from, if it was built."""


def check(config: Config, report: Report, quick: bool = False) -> Findings:
    """Look at all that a configuration names.

    :param report: what to tell the progress of a build.
    :param quick: don't build the snapshot: what is deep inside a database isn't seen then.
    """
    in_use, refused = _addresses(config)
    problems = [
        *_refusal(lambda: check_databases(config)),
        *_refusal(lambda: check_binds(config, Listeners({}))),
        *refused,
        *_refusal(lambda: check_access_log(config.settings.access_log)),
    ]
    formats, wrong = _databases(config, report)
    snapshot = None
    notes = [*in_use, *_output(config)]
    if not wrong and config.databases and not quick:
        try:
            chosen = build_snapshot(config, report)
            snapshot = chosen.path
            if chosen.note:
                notes.append(chosen.note)
            if chosen.withheld is not None:
                notes.append(how_withheld(chosen.withheld))
        except DataError as error:
            wrong = [str(error)]
    return Findings((*problems, *wrong), tuple(notes), tuple(formats), snapshot)


def _output(config: Config) -> Iterator[str]:
    log = config.settings.access_log
    if log is not None and log.is_output:
        yield "the access log goes to standard output: start `twistd -n`, else it is refused"


def _refusal(look: Callable[[], object]) -> Iterator[str]:
    try:
        look()
    except (ConfigError, DataError) as error:
        yield str(error)


def _addresses(config: Config) -> tuple[list[str], list[str]]:
    """Lines for addresses that are in use, and for those that can't be listened on.

    What is in use is so by the daemon, most often, that is to reload: that is no problem.
    """
    in_use, refused = [], []
    for bind in config.binds:
        try:
            close_all(open_listeners([bind], config.workers))
        except InUseError:
            in_use.append(f"{bind}: in use now; unless by the daemon, a start would be refused")
        except BindError as error:
            refused.append(str(error))
    return in_use, refused


def _databases(config: Config, report: Report) -> tuple[list[str], list[str]]:
    """The formats of the databases, and a line for each that has none, and for bad lists."""
    codes = config.codes
    wrong = [
        *_refusal(lambda: load_lists(codes.countries, codes.provinces, codes.cities, codes.only))
    ]
    if not config.databases:
        return [], wrong
    try:
        found = recognise(config.databases, report, config.build_limits)
    except DataError as error:
        return [], [*wrong, str(error)]
    formats = [one for one in found if isinstance(one, str)]
    return formats, [*wrong, *(str(one) for one in found if isinstance(one, DataError))]
