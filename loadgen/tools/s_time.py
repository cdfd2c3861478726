"""Runs ``openssl s_time``: full TLS handshakes, which wrk can't make as it resumes sessions."""

import re
import subprocess
import time

from loadgen.report.tally import Tally
from loadgen.tools.program import spent

# Of s_time's last line: how many connections, and what an answer had.
_FOUND = re.compile(r"^(\d+) connections in \d+ real seconds, (\d+) bytes read", re.MULTILINE)
# The shortest response head and body that there can be is longer.
_LEAST_BYTES = 100


def run_s_time(port: int, path: str, processes: int, seconds: float, core: int) -> Tally:
    """Connect anew for each request (HTTP/1.0), from so many processes on one core.

    :param path: of the URL, with its query.
    :returns: without latencies, which s_time doesn't tell.
    """
    command = ["taskset", "-c", str(core), "openssl", "s_time", "-connect", f"127.0.0.1:{port}"]
    command += ["-new", "-time", str(max(round(seconds), 1)), "-www", path]
    before, begun = spent(), time.monotonic()
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(processes)
    ]
    try:
        said = [one.communicate(timeout=seconds + 60)[0] for one in running]
    finally:
        for one in running:
            one.kill()
            one.wait()
    # s_time goes by whole seconds of the clock, so it may take one more than it is told.
    took = time.monotonic() - begun
    found = [read_s_time(text) for text in said]
    answered = [count for count in found if count is not None]
    errors = len(found) - len(answered)
    return Tally(
        sum(answered), took, 0, 0, 0, errors=errors, refused=0, busy=(spent() - before) / took
    )


def read_s_time(text: str) -> int | None:
    """How many connections were answered; ``None`` if not all of them were."""
    match = _FOUND.search(text)
    if match is None or int(match[2]) < _LEAST_BYTES:
        return None
    return int(match[1])
