"""From characters of a document to its pages and the boxes around its words."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import groupby

from winnow.documents import Block, Box, Word
from winnow.extractions import Place
from winnow.grounding.occurrences import Span


def places_of(blocks: Sequence[Block], span: Span, skipped: Sequence[Span] = ()) -> tuple[Place, ...]:
    """A place for each page that the span is on. What is skipped is left out at the pages' edges."""
    covered = [block for block in _covered(blocks, span) if (block.start, block.end) not in skipped]
    if not covered:
        return (Place(start=span[0], end=span[1]),)
    pages = [list(group) for _, group in groupby(covered, lambda block: block.page)]
    starts = [span[0], *(page[0].start for page in pages[1:])]
    ends = [*(page[-1].end for page in pages[:-1]), span[1]]
    return tuple(
        Place(start=start, end=end, page=page[0].page, boxes=tuple(_boxes(page, (start, end))))
        for start, end, page in zip(starts, ends, pages, strict=True)
    )


def _covered(blocks: Sequence[Block], span: Span) -> Iterator[Block]:
    first = max(0, bisect_right(blocks, span[0], key=lambda block: block.start) - 1)
    for block in blocks[first:]:
        if block.start >= span[1]:
            return
        if block.end > span[0]:
            yield block


def _boxes(blocks: Sequence[Block], span: Span) -> Iterator[Box]:
    for block in blocks:
        if block.words:
            yield from _lines(word for word in block.words if _overlaps(word, span, block.start))
        elif block.box:
            yield block.box


def _overlaps(word: Word, span: Span, shift: int) -> bool:
    return word[0] + shift < span[1] and word[1] + shift > span[0]


def _lines(words: Iterator[Word]) -> Iterator[Box]:
    """A box for each run of words on one line."""
    line: Box | None = None
    for _, _, x0, y0, x1, y1 in words:
        if line and _on_one_line(line, y0, y1):
            line = Box(x0=min(line.x0, x0), y0=min(line.y0, y0), x1=max(line.x1, x1), y1=max(line.y1, y1))
        else:
            if line:
                yield line
            line = Box(x0=x0, y0=y0, x1=x1, y1=y1)
    if line:
        yield line


def _on_one_line(line: Box, top: float, bottom: float) -> bool:
    shared = min(line.y1, bottom) - max(line.y0, top)
    return shared > min(line.y1 - line.y0, bottom - top) / 2
