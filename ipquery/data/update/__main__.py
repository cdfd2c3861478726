"""Fetches by a recipe, in a process of its own, for a daemon."""

import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable

from ipquery.data.build import Limits
from ipquery.data.record import DataError
from ipquery.data.update.fetch import fetch
from ipquery.data.update.folder import default_data
from ipquery.data.update.recipes import parse_recipe


def main(get: Callable[..., bool] = fetch) -> int:
    """Carry out the order on standard input, see :mod:`ipquery.data.update.tries`.

    :returns: the exit status.
    """
    # As for the process that builds: the terminal's signals are for the daemon to answer, TERM
    # has it remove what it hasn't finished, and the workers come first.
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(ignored, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.nice(10)
    order = json.load(sys.stdin)
    try:
        recipe = parse_recipe(order["recipe"])
        limits = Limits(**order["limits"])
        with tempfile.TemporaryDirectory(prefix="ipquery-") as kept:
            # npm keeps what it gets in the user's home, and gets nothing where there is none, as
            # for the user of a service.
            os.environ.setdefault("npm_config_cache", kept)
            new = get(recipe, default_data(), lambda what: None, limits=limits)
    except DataError as error:
        print(json.dumps({"error": str(error)}))
        return 1
    except KeyboardInterrupt:
        return 1
    print(json.dumps({"new": new}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
