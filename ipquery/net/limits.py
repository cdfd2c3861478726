"""How many files, and so connections, a process may have open."""

import resource


def raise_open_files() -> int:
    """Raise the soft limit on open files to the hard one; children inherit it.

    :returns: the limit now.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
