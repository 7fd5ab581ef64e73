"""The task runs of a job, document by document, in the order in which they may start.

A document's first call goes out before its others, so that these find its text in the provider's cache. Variables wait
for those that they depend on, the variables of entities for the list of them, and checks for the whole row.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from db import cells
from db.session import transaction
from winnow.jobs import CellRef, Job, WorkItem

Stages = Iterator[list[WorkItem]]
"""What may start at once, stage after stage; the next one is asked for when the one before has ended."""

_DOCUMENTS = 32  # read from the plan at a time, so that memory does not grow with the job


def documents_of(job: Job) -> Iterator[Stages]:
    """The stages of every document that has something left to do."""
    after = 0
    while True:
        with transaction() as connection:
            page = cells.open_documents(connection, job.id, after=after, limit=_DOCUMENTS)
        for open_cells in page:
            after = open_cells[0].document_id
            yield stages(job, open_cells)
        if not page:
            return


def stages(job: Job, open_cells: Sequence[CellRef]) -> Stages:
    """The stages of one document, given its open cells."""
    listing = [cell for cell in open_cells if cell.unit and cell.pending]
    if listing:
        yield [_item(listing)]
        with transaction() as connection:
            open_cells = cells.open_of(connection, job.id, listing[0].document_id)
    pending = sorted((cell for cell in open_cells if cell.pending and not cell.unit), key=lambda cell: cell.layer)
    warm = bool(listing)
    for _, layer in groupby(pending, key=lambda cell: cell.layer):
        items = _grouped(list(layer), job.options.variables_per_call)
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
