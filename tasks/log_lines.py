"""Winnow's own log records as lines of JSON on standard error, where `WINNOW_LOG=json` asks for them.

A line holds ids, names of variables and models, numbers and words of our own: nothing from a document, and no name of
one, since names of files can be private and logs travel far.
"""

import logging
from collections.abc import Mapping
from contextvars import ContextVar
from functools import cache
from types import MappingProxyType, TracebackType
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from winnow.settings import settings

about: ContextVar[Mapping[str, Any]] = ContextVar("winnow_about", default=MappingProxyType({}))
"""What the work under way is about: fields of every line that it writes."""

_ROOMS = ("winnow", "db", "tasks", "flows")
_NAMES = {"levelname": "level", "name": "logger", "message": "event", "exc_info": "error"}


class _Lines(JsonFormatter):
    def formatException(  # noqa: N802 # logging's name
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        """The kind of error alone: messages of libraries quote what they were given."""
        return ei[0].__name__ if ei[0] else ""


def _say_what_about(record: logging.LogRecord) -> bool:
    for name, value in about.get().items():
        if not hasattr(record, name):
            setattr(record, name, value)
    return True


def use_log_lines() -> None:
    """Let the records of this process be lines of JSON, if the settings ask for it."""
    if settings().log == "json":
        _set_up()


@cache
def _set_up() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines(list(_NAMES)[:3], rename_fields=_NAMES, timestamp="time", json_ensure_ascii=False))
    handler.addFilter(_say_what_about)
    for room in _ROOMS:
        logger = logging.getLogger(room)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False  # Prefect's console would say it a second time, as text
