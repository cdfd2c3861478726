"""The least that an HTTP server can be on our transport: the same answer to every read.

python -m loadgen.peers.echo PORT
"""

import sys

from twisted.internet.protocol import Factory, Protocol

from ipquery.net import reactor as loop_reactor
from ipquery.net.endpoint import serve
from ipquery.net.sockets import Bind, listen, open_sockets

# As long as an answer of ipquery.
_BODY = '["中国","CN","河南省","410000","商丘市","411400","","联通"]'.encode()
ANSWER = (
    b"HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 00:00:00 GMT\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
)


class Echo(Protocol):
    """Answers whatever is read."""

    def connectionMade(self) -> None:
        """Keep the method, so that no read has to look it up."""
        assert self.transport is not None
        self._write = self.transport.write

    def dataReceived(self, data: bytes) -> None:
        """One read is one request to it."""
        self._write(ANSWER)


def main() -> None:
    """Serve until killed."""
    reactor = loop_reactor.install()
    opened = open_sockets([Bind("127.0.0.1", int(sys.argv[1]))])
    listen(opened)
    reactor.callWhenRunning(lambda: serve(reactor, opened[0], Factory.forProtocol(Echo)))
    reactor.run()


if __name__ == "__main__":
    main()
