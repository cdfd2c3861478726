"""What is counted: the name, the labels and the meaning of each figure.

HTTP's have the names and labels of OpenTelemetry's semantic conventions (HTTP metrics, stable
since 1.23), as Prometheus spells them; the others begin with ``ipquery_``. Counters are named
here without ``_total``, which the text format adds. This is what counts and what renders agree
upon: who counts needs nothing but a metric, and who renders finds all of them in
:data:`METRICS`.
"""

from typing import Literal

import attrs

SECONDS = (
    0.000001, 0.0000025, 0.000005, 0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005,
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Upper bounds of a duration: look-ups on the fast way take 1 to 10 us, routes 200 us, a remote
source 50 ms."""

LATE_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Timers of uvloop go by whole milliseconds."""

SIZES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0)


@attrs.frozen
class Metric:
    """One figure, or one for each value of its labels."""

    name: str
    text: str
    labels: tuple[str, ...] = ()
    kind: Literal["counter", "gauge", "histogram", "info"] = "counter"
    bounds: tuple[float, ...] = ()
    """Of a histogram."""


# HTTP

DURATION = Metric(
    "http_server_request_duration_seconds",
    "How long requests were in hand: from the read that completed one, or from its turn, to its "
    "answer being written. On the fast way one of 64 is timed, of those that repeat one of 256.",
    ("http_request_method", "http_route", "http_response_status_code"),
    "histogram",
    SECONDS,
)
ACTIVE = Metric(
    "http_server_active_requests", "Requests whose answers are being made.", kind="gauge"
)
CONNECTIONS = Metric("ipquery_connections", "Connections that are open.", kind="gauge")
OPENED = Metric("ipquery_connections_opened", "Connections that were opened.")
RECEIVED = Metric("ipquery_received_bytes", "Bytes of HTTP that came in, TLS not counted.")
SENT = Metric("ipquery_sent_bytes", "Bytes of HTTP that went out, TLS not counted.")
LIMITS = Metric(
    "ipquery_limits_hit",
    "How often callers came up against a limit, by the setting under [http], [api] or [guard].",
    ("limit",),
)

# Look-ups

LOOKUPS = Metric(
    "ipquery_lookups",
    "Addresses looked up, by outcome and country. Their number is exact; what they came to is "
    "looked at for one of 64 on the fast way, and one of 256 where requests repeat.",
    ("outcome", "country"),
)
BATCHES = Metric("ipquery_batch_addresses", "Addresses in a batch.", kind="histogram", bounds=SIZES)
CACHE = Metric("ipquery_cache_requests", "What the cache was asked for.", ("outcome",))
FALLBACK = Metric(
    "ipquery_fallback_requests",
    "What remote sources were asked, by their place in the configuration.",
    ("source", "outcome"),
)
BREAKERS = Metric(
    "ipquery_breaker_workers",
    "Workers whose circuit breaker is in this state, for the cache and for each remote source.",
    ("upstream", "state"),
    "gauge",
)

# The process

LAG = Metric(
    "ipquery_event_loop_lag_seconds",
    "How late the event loop came to a timer.",
    kind="histogram",
    bounds=LATE_SECONDS,
)
DROPPED = Metric("ipquery_log_lines_dropped", "Log lines that were left out.", ("log",))

# The snapshot

SNAPSHOT = Metric("ipquery_snapshot", "What answers come from.", ("identity",), "info")
LOADED = Metric(
    "ipquery_snapshot_loaded_timestamp_seconds",
    "When the worker that was asked began to answer from it.",
    kind="gauge",
)
SOURCE_DATE = Metric(
    "ipquery_source_timestamp_seconds",
    "The date of a database, where it tells one.",
    ("source",),
    "gauge",
)

# The fleet

BUILD = Metric("ipquery_build", "The program.", ("version",), "info")
STARTED = Metric("ipquery_start_timestamp_seconds", "When the daemon started.", kind="gauge")
WORKERS = Metric("ipquery_workers", "Workers, by what they do.", ("state",), "gauge")
RESTARTS = Metric("ipquery_worker_restarts", "Workers that had to be replaced.", ("reason",))
RELOADS = Metric("ipquery_reloads", "Reloads, by outcome.", ("outcome",))
REFUSALS = Metric(
    "ipquery_reload_refusals", "Reloads that changed nothing, by what was in the way.", ("reason",)
)
RELOAD_OK = Metric(
    "ipquery_last_reload_successful", "Whether the last reload was carried out.", kind="gauge"
)
RELOADED = Metric(
    "ipquery_last_reload_success_timestamp_seconds",
    "When the state in force was taken over.",
    kind="gauge",
)
UPDATE_OUTCOMES = ("unchanged", "fetched", "served", "refused", "failed")
"""How a try to get a newer database ends: nothing new is there; it was fetched, and is being built;
it is served; it was fetched, but isn't served; or it couldn't be fetched."""

UPDATES = Metric(
    "ipquery_updates",
    "Tries to get a newer database: unchanged, served, refused (fetched, and not served), failed.",
    ("recipe", "outcome"),
)
UPDATE_TRIED = Metric(
    "ipquery_last_update_timestamp_seconds",
    "When a newer database was looked for last, by how that ended.",
    ("recipe", "outcome"),
    "gauge",
)
UPDATE_FAILURES = Metric(
    "ipquery_update_failures",
    "Tries in a row that failed to get a newer database.",
    ("recipe",),
    "gauge",
)

METRICS = (
    DURATION, ACTIVE, CONNECTIONS, OPENED, RECEIVED, SENT, LIMITS, LOOKUPS, BATCHES, CACHE,
    FALLBACK, BREAKERS, LAG, DROPPED, SNAPSHOT, LOADED, SOURCE_DATE, BUILD, STARTED, WORKERS,
    RESTARTS, RELOADS, REFUSALS, RELOAD_OK, RELOADED, UPDATES, UPDATE_TRIED, UPDATE_FAILURES,
)  # fmt: skip
