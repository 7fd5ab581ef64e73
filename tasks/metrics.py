"""Figures for Prometheus: what this process has asked, spent and answered since it began.

They stand in the client's own registry, beside those of the process and of Prefect. `WINNOW_METRICS_PORT` serves them.
"""

import logging
import threading
from functools import cache
from wsgiref.simple_server import WSGIServer

from prometheus_client import Counter, Gauge, Histogram, start_http_server

from winnow.settings import settings

logger = logging.getLogger(__name__)

CALLS = Counter("winnow_calls", "Calls that ended, and requests answered from the ledger.", ["model", "outcome"])
TOKENS = Counter(
    "winnow_tokens", "Tokens by the provider's count; cached ones are the prompt's too.", ["model", "kind"]
)
COST = Counter("winnow_cost_dollars", "US dollars, where the model has a price.", ["model"])
SECONDS = Histogram(
    "winnow_call_seconds",
    "How long a call took until its reply, or its error, was there.",
    ["model"],
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120),
)
IN_FLIGHT = Gauge("winnow_calls_in_flight", "Calls that wait for their reply.", ["model"])
CELLS = Counter("winnow_cells", "Cells that this process ended.", ["status"])
RETRIES = Counter("winnow_retries", "Further tries that Prefect makes of a cell's task run.", ["reason"])
HOLDS = Counter("winnow_holds", "Times that the provider asked to wait.", ["model"])
HOLD_SECONDS = Counter("winnow_hold_seconds", "Seconds for which it asked.", ["model"])
JOBS = Counter("winnow_jobs", "Runs of jobs, by the status in which they left them.", ["status"])

_starting = threading.Lock()


def serve_metrics() -> None:
    """Serve the figures of this process, if the settings give a port: once, however many jobs it runs."""
    port = settings().metrics_port
    if port is not None:
        with _starting:
            _serve(settings().metrics_host, port)


@cache
def _serve(host: str, port: int) -> tuple[WSGIServer, threading.Thread] | None:
    try:
        return start_http_server(port, host)
    except OSError as error:
        logger.warning(
            "No metrics are served: %s:%s cannot be used (%s). The work goes on. Give each process on a machine a "
            "WINNOW_METRICS_PORT of its own.",
            host, port, error.strerror,
        )  # fmt: skip
        return None
