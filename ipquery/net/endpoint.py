"""Serving a socket that already listens, and connecting, by the fastest way there is."""

import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, HostnameEndpoint
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from zope.interface import implementer

from ipquery.net.accept import Entrance, LoopEndpoint
from ipquery.net.connect import LoopClientEndpoint
from ipquery.net.reactor import LoopReactor
from ipquery.net.sockets import BindError, bound_to


def make_endpoint(
    reactor: Any, listening: socket.socket, entrance: Entrance | None = None
) -> IStreamServerEndpoint:
    """An endpoint that takes a bound socket over once it is told to listen.

    On the uvloop reactor the loop owns the connections; on any other they are
    Twisted's own.

    :raises BindError: TLS or PROXY headers are asked of another reactor than uvloop's.
    """
    if isinstance(reactor, LoopReactor):
        return LoopEndpoint(reactor.loop, listening, entrance)
    if entrance is not None and (entrance.tls is not None or entrance.balancers):
        raise BindError(f"{bound_to(listening)}: TLS and PROXY headers need uvloop; install it")
    return _StockEndpoint(reactor, listening)


@implementer(IStreamServerEndpoint)
class _StockEndpoint:
    """Serves a socket that already listens, through a reactor of Twisted's."""

    def __init__(self, reactor: Any, listening: socket.socket) -> None:
        self._reactor = reactor
        self._listening = listening

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Accept connections, and take the socket over."""
        family = self._listening.family
        endpoint = AdoptedStreamServerEndpoint(self._reactor, self._listening.detach(), family)
        port: Deferred[IListeningPort] = endpoint.listen(protocolFactory)
        return port


def serve(
    reactor: Any, listening: socket.socket, factory: IProtocolFactory
) -> Deferred[IListeningPort]:
    """Accept the connections of a listening socket, and take the socket over.

    :returns: the port; its ``stopListening`` closes the socket.
    """
    port: Deferred[IListeningPort] = make_endpoint(reactor, listening).listen(factory)
    return port


def make_client_endpoint(
    reactor: Any, host: str, port: int, timeout: float = 30
) -> IStreamClientEndpoint:
    """An endpoint that connects to a TCP port.

    :param timeout: how many seconds a connection may take to be made.
    """
    if isinstance(reactor, LoopReactor):
        return LoopClientEndpoint(reactor.loop, host, port, timeout)
    return HostnameEndpoint(reactor, host, port, timeout)
