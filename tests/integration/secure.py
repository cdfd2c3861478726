"""A daemon that speaks TLS, and clients of it."""

import socket
import ssl
from pathlib import Path

from tests.certificates import self_signed
from tests.data.files import xdb
from tests.integration.daemon import Daemon


class SecureSite:
    """A folder with databases, certificates and what a configuration says of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # What the contract's cases need.
        text = "中国|0|河南省|商丘市|联通"
        (folder / "v4.xdb").write_bytes(xdb([(0x01000000, 0x01FFFFFF, text)]))
        (folder / "v6.xdb").write_bytes(xdb([(0x20 << 120, (0x21 << 120) - 1, text)], 3, 6))
        self.certificate, self.key = self_signed(folder, "localhost")
        self.other, self.other_key = self_signed(folder, "other.example", "*.other.example")

    def config(self, top: str = "", tls: str = "", http: str = "") -> str:
        """A configuration: a plain port and one with TLS, two workers.

        :param top: more keys of no table.
        :param tls: of the table ``tls``.
        :param http: of the table ``http``.
        """
        pairs = [(self.certificate, self.key), (self.other, self.other_key)]
        shown = ", ".join(f"{{ chain = '{chain}', key = '{key}' }}" for chain, key in pairs)
        return f"""
bind = ["127.0.0.1:0", "tls:127.0.0.1:0"]
workers = 2
{top}
[[database]]
path = "{self.folder / "v4.xdb"}"
[[database]]
path = "{self.folder / "v6.xdb"}"
[tls]
certificates = [{shown}]
{tls}
[http]
{http}
"""

    def client(self) -> ssl.SSLContext:
        """What a client is made with that believes the certificates there are now."""
        context = ssl.create_default_context()
        context.check_hostname = False
        for one in (self.certificate, self.other):
            context.load_verify_locations(one)
        return context


def connect(
    daemon: Daemon,
    context: ssl.SSLContext,
    name: str = "localhost",
    session: ssl.SSLSession | None = None,
) -> ssl.SSLSocket:
    """A client that has shaken hands."""
    return context.wrap_socket(plainly(daemon), server_hostname=name, session=session)


def plainly(daemon: Daemon) -> socket.socket:
    """Connected to the port with TLS; what is said is the test's matter."""
    return socket.create_connection(("127.0.0.1", daemon.secure_port), 10)
