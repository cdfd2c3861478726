"""How many files, and so connections, a process may have open."""

import resource

OTHER_FILES = 64
"""Files a worker has open besides connections: log, snapshots, pipes, sockets."""


def open_files_limit() -> int:
    """The hard limit on open files: what the soft one can be raised to."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def raise_open_files() -> int:
    """Raise the soft limit on open files to the hard one; children inherit it.

    :returns: the limit now.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
