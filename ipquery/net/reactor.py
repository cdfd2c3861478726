"""Twisted's reactor on a uvloop loop: ``twistd --reactor=uvloop``.

The reactor alone is no faster than epoll, as it only asks the loop which
descriptors are ready. What it makes possible is :mod:`ipquery.net.transport`:
sockets that the loop itself reads and writes, under Twisted protocols.
"""

import asyncio
import signal
import traceback
from types import FrameType
from typing import Any

from twisted.internet import process
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.main import installReactor
from twisted.logger import Logger

_log = Logger()


class LoopReactor(AsyncioSelectorReactor):
    """A reactor whose loop can be asked for."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.loop = loop


def install() -> LoopReactor:
    """Make it the reactor of this process, before anything imports one.

    :raises ImportError: uvloop isn't installed.
    """
    import uvloop  # not at import time: the plugin must load without it

    loop = uvloop.new_event_loop()
    loop.set_exception_handler(_log_failure)
    asyncio.set_event_loop(loop)
    reactor = LoopReactor(loop)
    installReactor(reactor)
    reactor.callWhenRunning(_reap_on_signal, reactor)
    return reactor


def _reap_on_signal(reactor: LoopReactor) -> None:
    """Notice children that end.

    Twisted waits for SIGCHLD on a descriptor that it has given to
    signal.set_wakeup_fd, and uvloop takes that away.
    """
    if signal.getsignal(signal.SIGCHLD) in (signal.SIG_DFL, signal.SIG_IGN, None):
        return  # it was asked not to handle signals

    def reap(number: int, frame: FrameType | None) -> None:
        reactor.callFromThread(process.reapAllProcesses)

    signal.signal(signal.SIGCHLD, reap)


def _log_failure(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What a protocol raised, into Twisted's log instead of the standard library's."""
    error = context.get("exception")
    if error is None:
        _log.error("{message}", message=context.get("message"))
        return
    _log.error(
        "{message}: {error!r}\n{trace}",
        message=context.get("message"),
        error=error,
        trace="".join(traceback.format_exception(error)),
    )
