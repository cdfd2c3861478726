"""OpenSSL's side of one connection: records in, records out, all in memory."""

import contextlib
import ssl

# The plain text of one record at most (RFC 8446 section 5.1).
RECORD_BYTES = 1 << 14


class Records:
    """What OpenSSL keeps of a connection, wherever its bytes come from and go to."""

    __slots__ = ("incoming", "is_open", "outgoing", "tls", "unsent")

    def __init__(self, context: ssl.SSLContext) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.is_open = False
        """Whether the handshake is done."""
        self.unsent = b""
        """What has been taken from ``outgoing`` and isn't sent."""

    def shake_hands(self) -> bool:
        """Go on with the handshake. Whether it is done.

        :raises ssl.SSLError: it has failed.
        """
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self.is_open = True
        return True

    def read(self) -> tuple[bytes, bool]:
        """Decrypt all that has come in.

        :returns: the plain text, and whether the peer says no more.
        :raises ssl.SSLError: a record is damaged.
        """
        records: list[bytes] = []
        try:
            while record := self.tls.read(RECORD_BYTES):
                records.append(record)
                # Asked for more than there is, OpenSSL raises, which takes as long as to decrypt.
                if not self.incoming.pending and len(record) < RECORD_BYTES:
                    return b"".join(records), False
        except ssl.SSLWantReadError:
            return b"".join(records), False
        return b"".join(records), True

    def say_close(self) -> None:
        """Say close_notify, whatever the peer does."""
        # OpenSSL would say whether the peer has said it, too, which nobody waits for.
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()

    def take(self) -> bytes:
        """All that is to be sent."""
        unsent, self.unsent = self.unsent, b""
        return unsent + self.outgoing.read() if self.outgoing.pending else unsent


def handshake_fault(error: ssl.SSLError) -> str:
    """Why a handshake failed, for people."""
    what = (error.reason or "unknown error").lower().replace("_", " ")
    return f"the TLS handshake failed: {what}"
