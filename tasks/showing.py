"""What is shown in the Prefect UI is told to its server, which may be away: the work goes on without."""

import contextlib
import logging
from collections.abc import Iterator

import httpx
from prefect.exceptions import PrefectException
from prefect.settings import get_current_settings

logger = logging.getLogger(__name__)

AWAY = (httpx.HTTPError, PrefectException, OSError)
"""How a call to Prefect's server fails where it is away, or refuses."""


@contextlib.contextmanager
def shown(what: str) -> Iterator[None]:
    """Tell Prefect's server something in the block; where it cannot be told, that is noted and no more."""
    try:
        yield
    except AWAY:
        logger.warning("Prefect's server could not be told of %s", what)


def reachable() -> bool:
    """Whether Prefect's server answers, asked once: its client would try for a minute."""
    url = get_current_settings().api.url
    try:
        return url is None or httpx.get(f"{url}/health", timeout=5).status_code < httpx.codes.INTERNAL_SERVER_ERROR
    except httpx.HTTPError:
        return False
