"""A process that was asked to end by SIGTERM ends in time, whatever still waits for a reply."""

import contextlib
import os
import threading
from collections.abc import Callable

GRACE_SECONDS = 25.0
"""For calls in flight to come back. Who asks a process to end usually kills it after 30 s."""


def end_within_grace(give_up: Callable[[], object]) -> None:
    """End this process when the grace is over, if it is still there. Python cannot end threads that wait.

    Args:
        give_up: is called before.
    """
    timer = threading.Timer(GRACE_SECONDS, _end, args=(give_up,))
    timer.daemon = True
    timer.start()


def _end(give_up: Callable[[], object]) -> None:
    with contextlib.suppress(Exception):  # the leases of what could not be given up end by themselves
        give_up()
    os._exit(0)
