"""The documents of a job that this process holds, with their cells as they were when it claimed them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from sqlalchemy import Connection

from db import cells, jobs, workers
from db.session import patiently, transaction
from tasks.gates import Gate
from tasks.lease import Lease
from winnow.exceptions import WorkerLostError
from winnow.jobs import CellRef

_AT_ONCE = 4  # documents: few, so that the last ones of a job are shared out evenly
_LOST_FOR = 0.2  # seconds between looks whether a worker that was lost is registered anew
_MOST_FAILED = 10  # documents in a row
_MOST_LOSSES = 5  # of a document whose cells do not end; before that, they are tried in a process of their own

ALONE_AFTER = 2
"""A document that so many workers died with is worked on in a process of its own."""

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Holding:
    """A document that is held."""

    document_id: int
    worker: int  # who claimed it: this process may have been lost since, and be another worker now
    losses: int
    cells: dict[int, CellRef]
    since: float = field(default_factory=time.monotonic)


class Holdings:
    """What this process holds of a job. Threads may share it. While the database is down, it is waited for."""

    def __init__(self, job_id: int, gate: Gate, lease: Lease | None = None) -> None:
        """`lease`: of the worker that claims; None where another process does it."""
        self._job_id, self._gate, self._lease = job_id, gate, lease
        self._of_cell: dict[int, Holding] = {}

    def claim(self, after: int) -> list[Holding]:
        """Claim the next documents with open cells that nobody holds; see `db.workers.claim`.

        Raises:
            JobStoppedError: nothing new is to be begun.
        """
        self._gate.wait(0)
        while (claimed := self._patiently(lambda: self._claim(after))) is None:
            self._gate.wait(_LOST_FOR)
        for holding in claimed:
            self.hold(holding)
        return claimed

    def hold(self, holding: Holding) -> None:
        """Take note of a document that was claimed."""
        self._of_cell |= dict.fromkeys(holding.cells, holding)

    def _claim(self, after: int) -> list[Holding] | None:
        """None where this worker is lost: its lease is about to register it anew."""
        assert self._lease is not None  # noqa: S101 # whoever has none claims nothing
        worker = self._lease.worker
        with transaction() as connection:
            workers.reap(connection, self._job_id)
            try:
                claimed = workers.claim(connection, self._job_id, worker, after=after, limit=_AT_ONCE)
            except WorkerLostError:
                return None
            losses = {one.document_id: one.losses for one in claimed}
            return [
                Holding(one[0].document_id, worker, losses[one[0].document_id], {cell.id: cell for cell in one})
                for one in cells.open_of(connection, self._job_id, list(losses))
            ]

    def refreshed(self, holding: Holding) -> Sequence[CellRef]:
        """The open cells of a document as they stand now: more may have been planned since it was claimed."""

        def read() -> Sequence[CellRef]:
            with transaction() as connection:
                found = cells.open_of(connection, self._job_id, [holding.document_id])
            return found[0] if found else []

        open_cells = self._patiently(read)
        holding.cells.update({cell.id: cell for cell in open_cells})
        self.hold(holding)
        return open_cells

    def of(self, cell_id: int) -> Holding:
        """What holds a cell.

        Raises:
            WorkerLostError: its document is not held any more.
        """
        holding = self._of_cell.get(cell_id)
        if holding is None:
            raise WorkerLostError("its document is not held any more")
        return holding

    def release(self, holding: Holding) -> None:
        """Give up a document whose task runs have ended. Where too many have failed in a row, the job pauses."""
        for cell_id in holding.cells:
            self._of_cell.pop(cell_id, None)
        if not self._gate.closed:  # where it is, whatever is held is given up with the lease
            self._patiently(lambda: self._release(holding))

    def give_up(self) -> None:
        """Give up everything at once."""
        if self._lease:
            with transaction() as connection:
                workers.end(connection, self._lease.worker)

    def _release(self, holding: Holding) -> None:
        with transaction() as connection:
            if not workers.exists(connection, holding.worker):
                return
            left = workers.release(connection, self._job_id, holding.worker, holding.document_id)
            if left.open and holding.losses + 1 >= _MOST_LOSSES:
                self._set_aside(connection, holding)
            if left.open or not left.answered + left.failed:
                return
            failed = workers.count_failed(connection, self._job_id, failed=not left.answered)
            if failed > _MOST_FAILED:
                jobs.pause(connection, self._job_id, self._too_many(connection, failed))
                self._gate.close("too many documents failed")

    def _set_aside(self, connection: Connection, holding: Holding) -> None:
        (open_cells,) = cells.open_of(connection, self._job_id, [holding.document_id])
        for cell in open_cells:
            cells.end(connection, cell.id, "failed", "internal_error", f"not ended in {_MOST_LOSSES} attempts")
        cells.check(connection, [cell.id for cell in open_cells])

    def _too_many(self, connection: Connection, failed: int) -> str:
        reasons = list(cells.failures(connection, self._job_id).items())[:3]
        told = ", ".join(f"{reason} {number}" for reason, number in reasons)
        return (
            f"{failed} documents in a row failed in every cell ({told}). See what is wrong with the model or the "
            f"codebook, then go on with `winnow resume {self._job_id} --retry-failed`, or without it to leave those as "
            "they are."
        )

    def _patiently(self, work: Callable[[], _Result]) -> _Result:
        return patiently(work, self._gate.wait)
