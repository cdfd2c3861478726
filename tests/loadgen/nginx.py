"""nginx with a constant answer, the same yardstick as the benchmark's."""

import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from ipquery.net.sockets import Bind, open_sockets

# In the contract's form, as long as most.
ANSWER = '["中国","CN","河南省","410000","商丘市","411400","","联通"]'

_CONFIGURATION = """
worker_processes 1;
worker_rlimit_nofile 20000;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 16000; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 600;
    default_type application/json;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{ return 200 '{answer}'; }}
    }}
}}
"""


class Nginx:
    """nginx on a free port, on the first core."""

    def __init__(self, program: str, folder: Path) -> None:
        (bound,) = open_sockets([Bind("127.0.0.1")])
        self.port = int(bound.getsockname()[1])
        bound.close()
        # Its worker is somebody else.
        for parent in (folder, *folder.parents[:2]):
            parent.chmod(0o755)
        (folder / "nginx.conf").write_text(
            _CONFIGURATION.format(folder=folder, port=self.port, answer=ANSWER)
        )
        self._command = ["taskset", "-c", "0", program, "-c", str(folder / "nginx.conf")]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(1)
        assert self._process.poll() is None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait(10)
