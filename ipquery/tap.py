"""Options and makeService: the one place that wires things together.

What signals do:

| signal    | while a first build runs       | until the reactor runs | then                  |
|-----------|--------------------------------|------------------------|-----------------------|
| HUP       | waits                          | waits                  | reload                |
| USR1      | waits                          | waits                  | reopen logs           |
| TERM, INT | the build is undone, then end  | Twisted's: end         | drain; again: at once |

What waits is kept by the kernel, which holds each blocked signal once: several HUPs while
starting are one reload after it.
"""

import contextlib
import datetime
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar, TextIO

import attrs
from twisted.application.service import IService, MultiService
from twisted.logger import ILogObserver, Logger
from twisted.python import usage
from twisted.python.logfile import LogFile

from ipquery.config import Config, ConfigError, expand, load, parse_workers
from ipquery.data.build import Report
from ipquery.data.record import DataError
from ipquery.data.snapshot import Snapshot
from ipquery.data.sources import parse_sources
from ipquery.data.update.age import dated, outdated
from ipquery.fleet.log import observer
from ipquery.fleet.start import (
    build_snapshot,
    check_access_log,
    check_databases,
    how_withheld,
    warnings,
)
from ipquery.fleet.state import State, check_binds
from ipquery.fleet.supervisor import Supervisor
from ipquery.net import sockets
from ipquery.net.limits import OTHER_FILES, raise_open_files
from ipquery.net.sockets import Bind, BindError, parse_bind
from ipquery.net.systemd import Notifier, take_sockets
from ipquery.progress import reporter
from ipquery.serve.api import contract
from ipquery.serve.http.settings import AccessLogSettings
from ipquery.serve.lookup.upstreams import CacheSettings

_log = Logger()

_WAITING = (signal.SIGHUP, signal.SIGUSR1)
_STOPPING = (signal.SIGTERM, signal.SIGINT)

# A public DNS server in China: any database has a record for it.
_EXAMPLE_ADDRESS = "114.114.114.114"


class Options(usage.Options):
    """Flags of ``twistd ipquery``. What they set comes before the configuration file."""

    longdesc = (
        "Answer where an IP address is and whose it is, over HTTP.\n\n"
        "Databases are compiled into a snapshot once, and served by as many processes as there "
        "are cores. HUP takes over databases, configuration and code without losing a request, "
        "USR1 reopens logs, TERM and INT drain and end. Options of twistd stand before ipquery: "
        "-n stays in the foreground."
    )
    optFlags: ClassVar = [
        ["no-express", None, "Answer every request through the routes; for comparison."],
    ]
    optParameters: ClassVar = [
        ["config", None, None, "Configuration file; conf/ipquery.toml explains every key."],
    ]

    def __init__(self) -> None:
        super().__init__()
        self.binds: list[Bind] = []
        self.databases: list[str] = []
        self.workers: int | None = None
        self.redis: str | None = None

    def opt_bind(self, text: str) -> None:
        """Address to listen on: HOST:PORT, tls:HOST:PORT or unix:PATH; with admin: before it, for
        figures alone. May be given several times.
        [default: 127.0.0.1:8080]"""
        try:
            self.binds.append(parse_bind(text))
        except BindError as error:
            raise usage.UsageError(str(error)) from None

    opt_b = opt_bind

    def opt_workers(self, text: str) -> None:
        """Number of worker processes, or `auto` for one a core. [default: auto]"""
        try:
            self.workers = parse_workers(text)
        except ConfigError as error:
            raise usage.UsageError(str(error)) from None

    opt_w = opt_workers

    def opt_db(self, text: str) -> None:
        """Database: a snapshot, [FORMAT:]PATH, the name of a recipe that `ipquery fetch`
        got, or `default`. May be given several times: they are blended."""
        try:
            parse_sources([text])
        except DataError as error:
            raise usage.UsageError(str(error)) from None
        self.databases.append(text)

    def opt_redis(self, text: str) -> None:
        """Keep results in this Redis: redis://HOST, rediss://HOST, unix:PATH or
        redis+sentinel://HOST,.../MASTER. ${NAME} is taken from the environment."""
        try:
            self.redis = attrs.evolve(CacheSettings(), redis=expand(text, "--redis")).redis
        except ConfigError as error:
            raise usage.UsageError(str(error)) from None

    def load_config(self) -> Config:
        """The configuration file, if there is one, with the flags over it.

        :raises ConfigError: the file can't be used, or no database is named.
        """
        path = self["config"]
        config = load(Path(path)) if path else Config()
        if self.binds:
            config = attrs.evolve(config, binds=tuple(self.binds))
        if self.databases:
            # Parsed again at each reload: what `default` is depends on what has been fetched.
            try:
                databases = tuple(parse_sources(self.databases))
            except DataError as error:
                raise ConfigError(str(error)) from None
            named = tuple(self.databases)
            config = attrs.evolve(config, databases=databases, named=named)
        if self.workers is not None:
            config = attrs.evolve(config, workers=self.workers)
        settings = config.settings
        if self.redis is not None:
            cache = attrs.evolve(settings.cache, redis=self.redis)
            settings = attrs.evolve(settings, cache=cache)
        if self["no-express"]:
            settings = attrs.evolve(settings, express=False)
        config = attrs.evolve(config, settings=settings)
        self._check_output(settings.access_log)
        self._check_log(config)
        check_databases(config)
        return config

    def _check_output(self, settings: AccessLogSettings | None) -> None:
        if settings is None or not settings.is_output:
            return
        # In the background, twistd's standard output is /dev/null.
        in_background = self.parent is not None and not self.parent["nodaemon"]
        if in_background or sys.__stdout__ is None:
            why = "twistd runs in the background" if in_background else "it is closed"
            raise ConfigError(
                f"the access log can't go to standard output, {why}; start `twistd -n`, or "
                "give the path of a file"
            )

    def _check_log(self, config: Config) -> None:
        foreign = self.foreign_log
        if foreign is not None and (config.log_format, config.log_level) != ("text", "info"):
            raise ConfigError(
                f"`log_format` and `log_level` don't apply with twistd --{foreign}, which writes "
                "lines of its own; leave out one or the other"
            )

    @property
    def foreign_log(self) -> str | None:
        """The option of twistd by which something else than a stream of ours is logged to."""
        if self.parent is None:
            return None
        return next((name for name in ("syslog", "logger") if self.parent.get(name)), None)

    def open_log(self) -> Any:
        """What twistd would log to: a file, or its standard output. ``None`` for what isn't ours.

        :raises ConfigError: that can't be written.
        """
        if self.foreign_log is not None:
            return None
        twistd = self.parent or {"logfile": None, "nodaemon": True}
        path = twistd.get("logfile") or ("-" if twistd["nodaemon"] else "twistd.log")
        if path == "-":
            if not twistd["nodaemon"]:
                raise ConfigError("in the background the log can't go to standard output")
            return sys.stdout
        try:
            file = LogFile.fromFullPath(path)
        except OSError as error:
            raise ConfigError(f"{path}: can't write this log: {error.strerror}") from None
        # As twistd does it for its own; _answer_signals has both done.
        if not signal.getsignal(signal.SIGUSR1):
            signal.signal(signal.SIGUSR1, lambda *_: _rotate(file))
        return file


def _rotate(file: LogFile) -> None:
    from twisted.internet import reactor

    running: Any = reactor
    running.callFromThread(file.rotate)


class _Daemon(MultiService):
    """What twistd runs: the supervisor, with a log of ours in the place of twistd's."""

    def __init__(self, supervisor: Supervisor, log: Any) -> None:
        """:param log: where to; ``None`` to leave it to twistd."""
        super().__init__()
        self._supervisor, self._log = supervisor, log
        supervisor.setServiceParent(self)

    def setServiceParent(self, parent: Any) -> None:
        """Become part of the application, which twistd asks what to log with, once, after this."""
        super().setServiceParent(parent)
        if self._log is not None:
            # Asked at each line: a reload that was carried out has another.
            log = observer(self._log, lambda: self._supervisor.state.config)
            parent.setComponent(ILogObserver, log)


def makeService(options: Options) -> IService:
    """What twistd calls: the service, or one line and exit status 1."""
    # Not at the top: twistd imports this module before --reactor installs a reactor.
    from twisted.internet import reactor

    _hold_signals()
    try:
        with _undone_by_signals():
            log = options.open_log()
            supervisor = make_service(options.load_config, reactor, sys.stderr, _today)
            return _Daemon(supervisor, log)
    except (ConfigError, DataError, BindError) as error:
        _let_signals_in()
        raise SystemExit(f"ipquery: {error}") from None


def _today() -> datetime.date:
    return datetime.datetime.now(datetime.UTC).date()


def make_service(
    load_config: Callable[[], Config],
    reactor: Any,
    terminal: TextIO,
    today: Callable[[], datetime.date],
) -> Supervisor:
    """Wire the service of the twistd process.

    :param load_config: reads the configuration, now and for each reload.
    :param reactor: time, processes and signals.
    :param terminal: where the progress of a build is shown.
    :param today: the date, which tells the age of a database.
    :raises BindError: an address can't be listened on.
    :raises DataError: a database can't be used.
    :raises ConfigError: the configuration can't be used.
    """
    config = load_config()
    activated = take_sockets(os.environ)
    listeners = (
        sockets.adopt_listeners(activated)
        if activated
        else sockets.open_listeners(config.binds, config.workers)
    )
    try:
        check_binds(config, listeners)
        check_access_log(config.settings.access_log)
        chosen = build_snapshot(config, _progress(config, terminal))
        _about(chosen.path)
        notifier = Notifier(os.environ, reactor)
        supervisor = Supervisor(reactor, config, load_config, listeners, chosen.path, notifier)
    except BaseException:
        sockets.close_all(listeners)
        raise
    _check_open_files(config.connections, raise_open_files())
    notes = [] if chosen.withheld is None else [how_withheld(chosen.withheld)]
    if chosen.note:
        notes.append(chosen.note)
    supervisor.up.addCallback(lambda _: _announce(supervisor.state, today(), notes))
    reactor.callWhenRunning(_answer_signals, supervisor, reactor)
    return supervisor


def _progress(config: Config, terminal: TextIO) -> Report:
    """How the progress of a build is told: where a machine reads, it reads nothing but JSON."""
    if config.log_format == "text" or terminal.isatty():
        return reporter(terminal)
    return lambda what, done: _log.info("building: {what}", what=what, done=round(done, 3))


def _about(path: Path) -> Any:
    """What a snapshot says of itself.

    :raises DataError: it is gone.
    """
    try:
        with Snapshot(path, verify=False) as snapshot:
            return snapshot.about
    except OSError as error:
        raise DataError(f"{path}: can't read this snapshot: {error.strerror}") from None


class _InterruptedError(BaseException):
    """A signal ends what is being done. No Exception: nothing on the way may swallow it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def _undone_by_signals() -> Iterator[None]:
    """Have TERM and INT unwind the stack, which removes temporary files, and end the process.

    By default TERM would end it where it stands, and INT with a traceback.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        for again in _STOPPING:
            signal.signal(again, signal.SIG_IGN)
        raise _InterruptedError(number)

    before = {number: signal.getsignal(number) for number in _STOPPING}
    for number, handler in before.items():
        # Shells start what runs in the background with INT ignored: so it stays.
        if handler is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        yield
    except _InterruptedError as interrupted:
        # End by the same signal, as twistd does once it runs: whoever waits for us sees it.
        signal.signal(interrupted.number, signal.SIG_DFL)
        os.kill(os.getpid(), interrupted.number)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _hold_signals() -> None:
    """Have HUP and USR1 wait: by default they end a process.

    Handlers that note them wouldn't do: twistd installs its own for USR1, which
    rotates its log file, only where there is none.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _WAITING)


def _let_signals_in() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _WAITING)


def _answer_signals(supervisor: Supervisor, reactor: Any) -> None:
    """HUP reloads, USR1 reopens logs, and a second TERM or INT doesn't wait for callers.

    What Twisted does for TERM and INT, and twistd for USR1 if it writes a log
    file, is done, too.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, *_STOPPING)}

    def go_on(number: int, frame: FrameType | None) -> None:
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    def reopen(number: int, frame: FrameType | None) -> None:
        reactor.callFromThread(supervisor.reopen_logs)
        go_on(number, frame)

    def stop(number: int, frame: FrameType | None) -> None:
        for again in _STOPPING:
            signal.signal(again, lambda *_: reactor.callFromThread(supervisor.hurry))
        go_on(number, frame)

    def reload(number: int, frame: FrameType | None) -> None:
        reactor.callFromThread(supervisor.reload)

    signal.signal(signal.SIGUSR1, reopen)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGHUP, reload)
    _let_signals_in()


def _check_open_files(connections: int, open_files: int) -> None:
    wanted = connections + OTHER_FILES
    if open_files < wanted:
        _log.warn(
            "only {limit} open files are allowed, {connections} connections need {wanted}: "
            "raise the hard limit (`ulimit -Hn`, LimitNOFILE=) or lower http.connections",
            limit=open_files,
            connections=connections,
            wanted=wanted,
        )


def _announce(state: State, today: datetime.date, notes: Sequence[str]) -> None:
    """Say what is served, what is amiss with it, and how to try it.

    :param notes: what more is amiss.
    """
    sources = _about(state.snapshot)["sources"]
    for source in sources:
        _log.info(
            "database {name}: {kind}, {date}, {ranges:,} ranges, {records:,} records; "
            "licence: {licence}; attribution: {attribution}",
            name=source["name"],
            kind=source["format"],
            date=dated(source["date"], today),
            ranges=sum(source["ranges"].values()),
            records=source["records"],
            licence=source["licence"] or "not stated",
            attribution=source["attribution"] or "not stated",
        )
    for line in outdated(sources, today):
        _log.warn("{line}", line=line)
    for line in (*notes, *warnings(state.config, time.time())):
        _log.warn("{line}", line=line)
    binds = state.listeners.bound
    for bind in binds:
        _log.info("listening on {bind}", bind=bind)
    _log.info("try: {command}", command=example(next(bind for bind in binds if not bind.admin)))


def example(bind: Bind) -> str:
    """A curl command that asks the service."""
    query = f"{contract.QUERY_PATH}?ip={_EXAMPLE_ADDRESS}"
    if bind.path is not None:
        return f"curl --unix-socket {bind.path} 'http://localhost{query}'"
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 # shown, not bound
    shown = attrs.evolve(bind, host=local.get(bind.host, bind.host), tls=False)
    # The certificate is for a name that this machine may not have.
    return f"curl -k 'https://{shown}{query}'" if bind.tls else f"curl 'http://{shown}{query}'"
