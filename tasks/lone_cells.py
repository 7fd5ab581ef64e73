"""Cells that may have killed workers, each worked on alone in a child process: so it shows which one did, and survives.

A document whose workers died twice comes here. What a child does not survive is set aside, and the job goes on.
"""

import atexit
import pickle
import threading
from collections.abc import Sequence
from functools import cache

from tasks.child import Child, CrashedError
from tasks.holdings import Holding
from winnow.exceptions import OutputError, WinnowError


class LoneCells:
    """The child of this process that works on one cell, or group of cells, after the other."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._child: Child | None = None

    def work(self, job_id: int, held: Holding, ids: Sequence[int], check: bool) -> str:
        """How the cells ended.

        Raises:
            OutputError: they ended the child: `crashed`.
            WinnowError: as `tasks.extract_cell`.
        """
        with self._turn:
            if self._child is None:
                self._child = Child("tasks.lone_cell_child")
                self._child.wait_until_ready()
            try:
                outcome = pickle.loads(self._child.ask((job_id, held, list(ids), check)))  # noqa: S301 # our child's
            except CrashedError as crash:
                self._end()
                said = f"working on it ended its process ({crash.how}), as it may have ended {held.losses} before"
                raise OutputError("crashed", said) from None
        if isinstance(outcome, WinnowError):
            raise outcome
        return str(outcome)

    def end(self) -> None:
        """End the child, if there is one."""
        with self._turn:
            self._end()

    def _end(self) -> None:
        if self._child:
            self._child.end()
        self._child = None


@cache
def lone_cells() -> LoneCells:
    """The one of this process, which ends with it."""
    made = LoneCells()
    atexit.register(made.end)
    return made
