"""A real Prometheus that scrapes nodes."""

import json
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.nodes.front import CONF
from tests.nodes.node import free_ports
from tests.programs import require

_CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ['{rules}']
scrape_configs:
  - job_name: ipquery
    static_configs: [{{targets: {targets}}}]
"""


class Prometheus:
    """One, for as long as a test runs."""

    def __init__(self, folder: Path, ports: Sequence[int]) -> None:
        """:param ports: what it scrapes on loopback, once a second."""
        (self._port,) = free_ports(1)
        targets = [f"127.0.0.1:{port}" for port in ports]
        rules = CONF / "prometheus/alerts.yml"
        config = folder / "prometheus.yml"
        config.write_text(_CONFIG.format(rules=rules, targets=json.dumps(targets)))
        with (folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    require("prometheus", "prometheus"),
                    f"--config.file={config}",
                    f"--storage.tsdb.path={folder / 'prometheus'}",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._log = folder / "prometheus.log"

    def ask(self, query: str) -> list[Any]:
        """What it finds: an element for each series."""
        arguments = urllib.parse.urlencode({"query": query})
        url = f"http://127.0.0.1:{self._port}/api/v1/query?{arguments}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            found = json.load(answer)
        assert found["status"] == "success", found
        result: list[Any] = found["data"]["result"]
        return result

    def number(self, query: str) -> float:
        """The only value that it finds; 0 if there is none."""
        found = self.ask(query)
        assert len(found) < 2, found
        return float(found[0]["value"][1]) if found else 0.0

    def wait_for(self, query: str, seconds: float = 30) -> list[Any]:
        """Wait until something is found."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                found = self.ask(query)
            except OSError:  # it isn't up yet
                found = []
            if found:
                return found
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, f"{query} finds nothing"
            time.sleep(0.1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait(20)
