"""Refusals of guards as callers know them: under ``/v1`` a problem, else the contract's message."""

from collections.abc import Callable, Mapping

import attrs

from ipquery.serve.api import contract
from ipquery.serve.api.problems import KINDS, Problem
from ipquery.serve.http.framing import Framing
from ipquery.serve.http.reply import Reply, message

OPEN_PATHS = frozenset((contract.HEALTH_PATH.encode(), contract.READY_PATH.encode()))
"""What load balancers ask, and everybody is answered."""


def is_v1(path: bytes) -> bool:
    """Whether a path is one of those that tell problems."""
    return path == b"/v1" or path.startswith(b"/v1/")


@attrs.frozen
class Refusals:
    """Words refusals of guards, see :data:`ipquery.serve.guard.guard.Say`."""

    cors_headers: Callable[[bytes | None], Mapping[str, str]]
    """What is said to the page of an origin, so that its scripts may read a problem."""

    def say(
        self, target: bytes, framing: Framing, name: str, detail: str, headers: Mapping[str, str]
    ) -> Reply:
        """A problem, or the contract's message.

        :param name: one of :data:`~ipquery.serve.api.problems.KINDS`.
        """
        if not is_v1(target.partition(b"?")[0]):
            return message(KINDS[name].status, detail, headers)
        reply = Problem(name, detail, headers).reply()
        shared = self.cors_headers(framing.fields.get(b"origin"))
        return attrs.evolve(reply, headers={**reply.headers, **shared})
