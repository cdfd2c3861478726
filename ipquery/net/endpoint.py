"""Serving a socket that already listens, by the fastest way there is."""

import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import AdoptedStreamServerEndpoint
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint

from ipquery.net.reactor import LoopReactor
from ipquery.net.stream import LoopEndpoint


def make_endpoint(reactor: Any, listening: socket.socket) -> IStreamServerEndpoint:
    """An endpoint that takes a listening socket over.

    On the uvloop reactor the loop owns the connections; on any other they are
    Twisted's own.
    """
    if isinstance(reactor, LoopReactor):
        return LoopEndpoint(reactor.loop, listening)
    family = listening.family
    return AdoptedStreamServerEndpoint(reactor, listening.detach(), family)


def serve(
    reactor: Any, listening: socket.socket, factory: IProtocolFactory
) -> Deferred[IListeningPort]:
    """Accept the connections of a listening socket, and take the socket over.

    :returns: the port; its ``stopListening`` closes the socket.
    """
    port: Deferred[IListeningPort] = make_endpoint(reactor, listening).listen(factory)
    return port
