"""Carries out an :class:`~ipquery.data.build.Order`, in a process of its own."""

import json
import os
import pickle
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from ipquery.data.build.decisions import (
    Withheld,
    change_decisions,
    forget_withheld,
    read_decisions,
)
from ipquery.data.build.job import Order
from ipquery.data.build.store import Chosen, choose_snapshot, own_copy
from ipquery.data.record import DataError
from ipquery.data.update.guard import Guard, objection


def carry_out(order: Order) -> dict[str, Any]:
    """The answer to an order.

    :raises DataError: it can't be carried out.
    """
    chosen = choose_snapshot(
        order.sources,
        order.cache,
        lambda what, done: None,
        order.lists,
        order.limits,
        order.policy,
        order.elsewhere,
        order.serving,
    )
    note = {"note": chosen.note} if chosen.note else {}
    is_new = False
    if chosen.withheld is None and order.serving is not None and order.guard is not None:
        chosen = _guarded(chosen.path, order, order.serving, order.guard)
        is_new = chosen.withheld is not None
    one = chosen.withheld
    if one is None:
        forget_withheld(chosen.path.parent, order.line)
        return {"path": str(chosen.path), **note}
    told = {"name": one.name, "by": one.by, "why": one.why, "is_new": is_new}
    return {"path": str(chosen.path), **note, "withheld": told}


def _guarded(path: Path, order: Order, serving: Path, guard: Guard) -> Chosen:
    """The new snapshot, or, if something is against it, the one that serves."""
    folder = path.parent
    if path.name == serving.name or path.name in read_decisions(folder).accepted:
        return Chosen(path)
    try:
        why = objection(serving, path, guard)
    except MemoryError:
        raise DataError(
            f"{path}: to compare it with what serves needs more than {order.limits.memory >> 20} "
            "MB of memory; raise `memory_limit_mb` under [build]"
        ) from None
    if why is None:
        return Chosen(path)
    # A start from this folder is to find it here, too.
    instead = own_copy(serving, order.cache)
    withheld = Withheld(path.name, instead.name, why, order.line, "guard")
    change_decisions(folder, lambda now: now.withholding(withheld))
    return Chosen(instead, withheld)


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
    # One thread: more would reserve address space that nothing uses.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    # What is compared may come from elsewhere. The build itself has a child with these limits.
    resource.setrlimit(resource.RLIMIT_AS, (order.limits.memory, order.limits.memory))
    try:
        answer = carry_out(order)
    except DataError as error:
        print(json.dumps({"error": str(error)}))
        return 1
    except KeyboardInterrupt:
        return 1
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
