"""ipquery's daemon with workers that count nothing on the fast way.

python -m loadgen.peers.uncounted -n --pidfile= ipquery [OPTION]...
"""

from twisted.scripts.twistd import run

from ipquery.fleet import child


def main() -> None:
    """Run twistd with other workers."""
    # No setting of the daemon's, as nobody but the benchmark needs them.
    child._WORKER = "loadgen.peers.uncounted_worker"
    run()


if __name__ == "__main__":
    main()
