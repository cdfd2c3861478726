"""Where servers and generators of a benchmark run: apart, if there are two cores."""

import os

_AVAILABLE = sorted(os.sched_getaffinity(0))

SERVER_CORE, LOAD_CORE = _AVAILABLE[0], _AVAILABLE[-1]
