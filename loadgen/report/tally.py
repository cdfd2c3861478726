"""What a generator that ran as a program of its own found."""

import attrs


@attrs.frozen
class Tally:
    """One run. Times in seconds; latencies are 0 where the generator doesn't tell them."""

    requests: int
    """Answers that came."""
    seconds: float
    p50: float
    p99: float
    p999: float
    errors: int
    """Connections and requests that failed."""
    refused: int
    """Answers with a status of 400 or more."""
    busy: float = 0
    """Share of a core that the generator used: near 1 it may have been the limit."""

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds
