"""Session tickets that any worker takes, whichever worker gave them.

A ticket is the session itself, encrypted by the server (RFC 5077, RFC 8446 section 4.6.1).
OpenSSL makes up the keys anew in each process, and Python's ssl can't set them. So this calls
``SSL_CTX_ctrl`` of the very libssl that Python's ``_ssl`` is linked with, on the ``SSL_CTX *``
that is the first field of ``PySSLContext`` (Modules/_ssl.c, the same from Python 3.6 to 3.14).

Nothing promises that it stays there. Therefore :func:`why_not_shared` tries it first, in a
process of its own, as what is wrong would crash it: two contexts with one key, of which the
second takes up what the first began. Where that fails every worker has keys of its own, and a
client that lands on another worker shakes hands in full.

Old keys aren't kept beside new ones. OpenSSL has room for one; to have it ask for more would
need a call back into Python in each handshake. With keys renewed once a day, a client shakes
hands in full once a day.
"""

import _ssl
import ctypes
import functools
import secrets
import ssl
import subprocess
import sys

# openssl/ssl.h and openssl/tls1.h
_SET_SESSION_CACHE_MODE, _SESSION_CACHE_OFF = 44, 0
_SET_TICKET_KEYS = 59
# Name, HMAC key and AES key (ssl/ssl_local.h, since OpenSSL 1.1.1).
_KEY_BYTES = 16 + 32 + 32

_CHECK_SECONDS = 20


def new_key() -> bytes:
    """A key for tickets."""
    return secrets.token_bytes(_KEY_BYTES)


def share(context: ssl.SSLContext, key: bytes) -> None:
    """Have a context encrypt its tickets with a key, and decrypt those that others gave.

    It then keeps no sessions itself: it would keep 20,000 for clients that take no tickets.
    Only after :func:`why_not_shared` found nothing against it.

    :raises OSError: OpenSSL takes no such keys.
    """
    control = ctypes.CDLL(_ssl.__file__).SSL_CTX_ctrl
    control.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_char_p)
    control.restype = ctypes.c_long
    pointer = ctypes.c_void_p.from_address(id(context) + object.__basicsize__).value
    if control(pointer, _SET_TICKET_KEYS, len(key), key) != 1:
        raise OSError("OpenSSL doesn't take the key")
    control(pointer, _SET_SESSION_CACHE_MODE, _SESSION_CACHE_OFF, None)


@functools.cache
def why_not_shared() -> str | None:
    """Why tickets can't be shared here; ``None`` if they can. Takes a tenth of a second, once."""
    try:
        done = subprocess.run(  # noqa: S603 # ourselves
            [sys.executable, "-P", "-m", __name__],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_CHECK_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return None
    last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
    return last[0] if last else f"the check ended with status {done.returncode}"


def _try() -> None:
    """Resume at one context what began at another.

    :raises Exception: it doesn't work.
    """
    key = new_key()
    client = _anonymous(ssl.PROTOCOL_TLS_CLIENT)
    begun, _ = _handshake(client, _shared(key), None)
    _, is_resumed = _handshake(client, _shared(key), begun)
    if not is_resumed:
        raise OSError("a session isn't taken up by another context")
    _, is_resumed = _handshake(client, _shared(new_key()), begun)
    if is_resumed:
        raise OSError("a session is taken up without its key")


def _shared(key: bytes) -> ssl.SSLContext:
    context = _anonymous(ssl.PROTOCOL_TLS_SERVER)
    share(context, key)
    return context


def _anonymous(side: int) -> ssl.SSLContext:
    """A context that needs no certificate; nothing but a try would use one."""
    context = ssl.SSLContext(side)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AECDH-AES128-SHA:@SECLEVEL=0")
    return context


def _handshake(
    from_context: ssl.SSLContext, to_context: ssl.SSLContext, session: ssl.SSLSession | None
) -> tuple[ssl.SSLSession | None, bool]:
    """The client's session after a handshake in memory, and whether it was resumed."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = from_context.wrap_bio(to_client, to_server, session=session)
    server = to_context.wrap_bio(to_server, to_client, server_side=True)
    is_done = False
    while not is_done:
        is_done = True
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                is_done = False
    return client.session, bool(client.session_reused)


if __name__ == "__main__":
    _try()
