"""The task runs of a job, document by document, in the order in which they may start.

A document's first call goes out before its others, so that these find its text in the provider's cache. Variables wait
for those that they depend on, the variables of entities for the list of them, and checks for the whole row.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import groupby

from tasks.holdings import Holding
from tasks.job_context import JobContext
from winnow.exceptions import JobStoppedError
from winnow.jobs import CellRef, WorkItem

Stages = Iterator[list[WorkItem]]
"""What may start at once, stage after stage; the next one is asked for when the one before has ended."""


def documents_of(context: JobContext) -> Iterator[Stages]:
    """The stages of every document that has something left to do and that nobody works on, claimed as they are taken.

    It ends where nothing is left to claim just now, or the job is stopped.
    """
    after = 0
    with suppress(JobStoppedError):
        while claimed := context.holdings.claim(after):
            for holding in claimed:
                after = holding.document_id
                yield _stages_and_release(context, holding)


def _stages_and_release(context: JobContext, holding: Holding) -> Stages:
    with suppress(JobStoppedError):
        yield from stages(context, holding)
        context.holdings.release(holding)


def stages(context: JobContext, holding: Holding) -> Stages:
    """The stages of one document."""
    open_cells: Sequence[CellRef] = list(holding.cells.values())
    listing = [cell for cell in open_cells if cell.unit and cell.pending]
    if listing:
        yield [_item(listing)]
        open_cells = context.holdings.refreshed(holding)
    pending = sorted((cell for cell in open_cells if cell.pending and not cell.unit), key=lambda cell: cell.layer)
    warm = bool(listing)
    for _, layer in groupby(pending, key=lambda cell: cell.layer):
        items = _grouped(list(layer), context.job.options.variables_per_call)
        if not warm and len(items) > 1:
            yield items[:1]
            items = items[1:]
        yield items
        warm = True
    unchecked = [cell for cell in open_cells if not cell.checked]
    if unchecked:
        yield [_item(unchecked, check=True)]


def _grouped(layer: Sequence[CellRef], size: int) -> list[WorkItem]:
    """The cells of a layer in groups of so many variables (0: all) of the same entity."""
    items = []
    for _, row in groupby(layer, key=lambda cell: cell.entity):
        together = list(row)
        step = size or len(together)
        items += [_item(together[start : start + step]) for start in range(0, len(together), step)]
    return items


def _item(together: Sequence[CellRef], *, check: bool = False) -> WorkItem:
    names = list(dict.fromkeys(cell.variable for cell in together))
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    entity = next((cell.entity for cell in together if cell.entity), None)
    return WorkItem(
        cells=tuple(cell.id for cell in together),
        document=together[0].document,
        variable="checks" if check else f"{entity[:8]} · {shown}" if entity else shown,
        check=check,
    )
