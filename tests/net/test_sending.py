"""Sending before there is a transport."""

import errno
import os
import socket
from typing import Any

import attrs
import pytest

from ipquery.net.sending import send_now


@attrs.define
class _Socket:
    """One of which the kernel takes this much, or says this number."""

    takes: int = 0
    says: int = 0

    def send(self, data: bytes, flags: int) -> int:
        assert flags == socket.MSG_DONTWAIT
        if self.says:
            raise OSError(self.says, os.strerror(self.says))
        return min(self.takes, len(data))


def _send(**what: int) -> bytes:
    connection: Any = _Socket(**what)
    return send_now(connection, b"answer")


@pytest.mark.parametrize(("taken", "rest"), [(6, b""), (2, b"swer"), (0, b"answer")])
def test_what_is_not_taken_is_the_rest(taken: int, rest: bytes) -> None:
    assert _send(takes=taken) == rest


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOBUFS])
def test_a_kernel_that_takes_nothing_now_is_no_peer_that_has_gone(number: int) -> None:
    assert _send(says=number) == b"answer"


@pytest.mark.parametrize("number", [errno.ECONNRESET, errno.EPIPE])
def test_a_peer_that_has_gone_is_told(number: int) -> None:
    with pytest.raises(OSError, match=os.strerror(number)):
        _send(says=number)


def test_a_full_socket_is_no_peer_that_has_gone() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        while not (rest := send_now(ours, bytes(1 << 16))):
            pass
        assert send_now(ours, b"answer") == b"answer"
        assert 0 < len(rest) <= 1 << 16
