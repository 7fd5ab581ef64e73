"""A job's budget while its calls are in flight: no call starts that could exceed what is left."""

import contextlib
import threading
from collections.abc import Iterator

from winnow.exceptions import BudgetReachedError


class Budget:
    """What a job may spend, in US dollars; None: without limit. Threads share it."""

    def __init__(self, limit: float | None, spent: float) -> None:
        self._limit, self._spent = limit, spent
        self._reserved: list[float] = []  # of each call in flight
        self._changed = threading.Condition()

    @property
    def limited(self) -> bool:
        """Whether there is a limit."""
        return self._limit is not None

    @contextlib.contextmanager
    def reserved(self, most: float) -> Iterator[None]:
        """Set aside the most that a call can cost while the block runs.

        Calls in flight may turn out cheaper than what is set aside for them: they are waited for before one is refused.

        Raises:
            BudgetReachedError: the call could exceed the budget.
        """
        if self._limit is None:
            yield
            return
        with self._changed:
            while self._spent + sum(self._reserved) + most > self._limit:
                if not self._reserved:
                    raise BudgetReachedError(
                        f"The budget of ${self._limit:.2f} does not cover the next call: ${self._spent:.4f} are "
                        f"spent, and it could cost ${most:.4f}. Run again with a larger --budget to go on."
                    )
                self._changed.wait()
            self._reserved.append(most)
        try:
            yield
        finally:
            with self._changed:
                self._reserved.remove(most)
                self._changed.notify_all()

    def spend(self, cost: float) -> None:
        """Count what a call has cost."""
        with self._changed:
            self._spent += cost
