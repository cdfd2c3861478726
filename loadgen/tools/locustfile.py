"""Locust: look-ups of random IPv4 addresses, without a pause, on kept connections.

locust -f locustfile.py --headless -u 64 -r 64 -t 10s -H http://127.0.0.1:8080
"""

import random
from typing import Any

from locust import FastHttpUser, task


class Caller(FastHttpUser):
    """One of many."""

    @task
    def look_up(self) -> None:
        """One name for all addresses, or statistics would be kept for each."""
        client: Any = self.client
        ip = ".".join(map(str, (random.randint(1, 223), *random.choices(range(256), k=3))))  # noqa: S311
        with client.get(f"/api/ip_query?ip={ip}", name="look-up", catch_response=True) as answer:
            # 501 says that there is no record, which is an answer.
            if answer.status_code in (200, 501):
                answer.success()
