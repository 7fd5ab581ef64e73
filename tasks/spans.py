"""Spans for OpenTelemetry: one of a job, of each of its task runs, and of each call.

Where a program has set OpenTelemetry up (`opentelemetry-instrument` does), its tracer is used. Else, where the usual
`OTEL_*` variables name a collector and the extra `otel` is installed, spans go there. Else they cost next to nothing.
"""

import contextlib
import os
from collections.abc import Iterator
from functools import cache
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Span, Status, StatusCode, Tracer

_COLLECTORS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


@contextlib.contextmanager
def span(name: str, **attributes: Any) -> Iterator[Span]:
    """A span around the block. An error's kind is kept, its words are not: those of libraries quote what they got."""
    given = {key: value for key, value in attributes.items() if value is not None}
    with tracer().start_as_current_span(
        name, attributes=given, record_exception=False, set_status_on_exception=False
    ) as opened:
        try:
            yield opened
        except BaseException as error:  # raised again
            opened.set_status(Status(StatusCode.ERROR, getattr(error, "reason", type(error).__name__)))
            raise


@cache
def tracer() -> Tracer:
    """What makes the spans of this process."""
    provided = trace.get_tracer_provider()
    if isinstance(provided, trace.ProxyTracerProvider) and any(map(os.environ.get, _COLLECTORS)):
        with contextlib.suppress(ImportError):
            return _exporting()
    return trace.get_tracer("winnow")


def _exporting() -> Tracer:
    """A provider of Winnow's own: spans of Prefect, which name documents, go nowhere by it."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    service = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "winnow"}
    provider = TracerProvider(resource=Resource.create(service))  # reads the other variables, and ends with the process
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider.get_tracer("winnow")
