"""The process of a worker: ``python -m ipquery.fleet``.

Descriptor 3 brings messages of the supervisor, 4 takes messages to it, the
sockets to listen on come after, see :mod:`ipquery.fleet.control`.
"""

import gc
import signal
from typing import Any

from twisted.logger import Logger, globalLogBeginner

from ipquery.fleet.control import READ_FROM, WRITE_TO
from ipquery.net import reactor as loop_reactor

_log = Logger()


def _install_reactor() -> bool:
    """uvloop's reactor, if it can be had. Whether it could."""
    try:
        loop_reactor.install()
    except ImportError:
        return False
    return True


def main() -> None:
    """Run a worker until it is told to drain, or its supervisor is gone."""
    # What is imported stays. To look through it again and again for garbage takes a sixth of a
    # worker's start; the worker turns the collector on.
    gc.disable()
    # A terminal sends these to every process in it; the supervisor answers them for all.
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(ignored, signal.SIG_IGN)
    fast = _install_reactor()
    # Not at the top: to import these installs a reactor, if there is none yet.
    from twisted.internet import reactor, stdio

    from ipquery.fleet.worker import Worker, observer

    running: Any = reactor
    worker = Worker(running)
    pipes: Any = stdio.StandardIO  # mypy takes it for Windows's class of that name
    pipes(worker, stdin=READ_FROM, stdout=WRITE_TO, reactor=running)
    # What was logged before is kept until here, and passed on.
    globalLogBeginner.beginLoggingTo([observer(worker)], redirectStandardIO=False)
    if not fast:
        _log.warn("uvloop is not installed: answering at a fifth of the speed")
    signal.signal(signal.SIGTERM, lambda number, frame: running.callFromThread(worker.drain))
    running.run(installSignalHandlers=False)


if __name__ == "__main__":
    main()
