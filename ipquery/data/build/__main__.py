"""Carries out an :class:`~ipquery.data.build.Order`, in a process of its own."""

import json
import os
import pickle
import signal
import sys

from ipquery.data.build.job import Order
from ipquery.data.build.store import served_snapshot
from ipquery.data.record import DataError


def main() -> int:
    """Carry out the order on standard input. Returns the exit status."""
    # Stopped, it removes what it hasn't finished. The terminal's signals are for the process
    # that started us to answer; HUP, to which that reloads, would end us before we could.
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(ignored, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # The workers are answering meanwhile: a build takes what they leave, and a tenth
    # of a core that they keep busy.
    os.nice(10)
    order: Order = pickle.load(sys.stdin.buffer)  # noqa: S301 # from the process that started us
    try:
        path = served_snapshot(
            order.sources,
            order.cache,
            lambda what, done: None,
            order.lists,
            order.limits,
            order.policy,
        )
    except DataError as error:
        print(json.dumps({"error": str(error)}))
        return 1
    except KeyboardInterrupt:
        return 1
    print(json.dumps({"path": str(path)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
