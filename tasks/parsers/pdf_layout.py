"""From the lines of a page to its blocks: titles, paragraphs and list items, told by gaps, indents and type."""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from winnow.documents import BlockKind, Box, Piece, Word

_MARKER = re.compile(r"[•◦▪●■·‣–]\s|\(?(?:\d{1,3}|[a-z]|[ivx]{1,5})[.)]\s|\d{1,3}(?:\.\d{1,3})+\.?\s")
_SENTENCE_END = (".", ";", ":", "!", "?", ".”", '."', ".)")
_NO_TITLE_END = (".", ";", ",")
_USUAL_PITCH = 1.2  # from baseline to baseline, in type sizes


class Line(NamedTuple):
    """A line of text, in points from the top left corner of the page as it is seen."""

    text: str
    x0: float
    y0: float
    x1: float
    y1: float
    baseline: float
    size: float
    bold: bool  # at its first and at its last character
    words: tuple[Word, ...] = ()  # their places are in this line's text


def pieces_of_page(lines: list[Line], page: int, width: float, height: float) -> list[Piece]:
    """Blocks of one page, in the order of its lines. Boxes end at the page's edges."""
    body = _body_size(lines)
    return [
        Piece(
            kind=_kind(block, body),
            text="\n".join(line.text for line in block),
            page=page,
            box=_box(block, width, height),
            words=tuple(_words(block, width, height)),
        )
        for block in _blocks(lines)
    ]


def in_rows(lines: list[Line]) -> list[Line]:
    """Lines from top to bottom and left to right: a form's values come after all its labels, and belong beside them."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: line.baseline):
        if rows and line.baseline - rows[-1][0].baseline < 0.6 * line.size:
            rows[-1].append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda line: line.x0)]


def _body_size(lines: list[Line]) -> float:
    counts: Counter[float] = Counter()
    for line in lines:
        counts[round(line.size, 1)] += len(line.text)
    return counts.most_common(1)[0][0] if counts else 0.0


def _blocks(lines: list[Line]) -> Iterator[list[Line]]:
    pitch = _pitch(lines)
    block: list[Line] = []
    for line in lines:
        if block and _starts_block(block, line, pitch):
            yield block
            block = []
        block.append(line)
    if block:
        yield block


def _pitch(lines: list[Line]) -> float:
    """The page's line spacing in type sizes: the smallest that a fifth of its lines keep."""
    ratios = sorted(
        ratio
        for before, line in pairwise(lines)
        if line.size > 0 and 0.7 < (ratio := (line.baseline - before.baseline) / line.size) < 3
    )
    for index, ratio in enumerate(ratios):
        if (bisect_right(ratios, ratio * 1.1) - index) * 5 >= len(ratios):
            return ratio * 1.05
    return _USUAL_PITCH


def _starts_block(block: list[Line], line: Line, pitch: float) -> bool:
    before = block[-1]
    size = max(before.size, line.size, 0.1)
    step = (line.baseline - before.baseline) / size
    if step < -0.5 or step > pitch * 1.25:  # up again, as at the head of a column; or a gap
        return True
    if step < 0.6:  # the same row: a label and its value
        return False
    if line.x0 > before.x1 + 3 * size:  # beside it, not below
        return True
    if abs(before.size - line.size) > 0.15 * size:
        return True
    return _starts_paragraph(block, line, size)


def _starts_paragraph(block: list[Line], line: Line, size: float) -> bool:
    """Without a gap: a list's marker, an indent, or the end of a bold heading, where the line before came to an end."""
    before = block[-1]
    short = before.x1 < max(other.x1 for other in [*block[-40:], line]) - 4 * size
    ended = before.text.endswith(_SENTENCE_END)
    if _MARKER.match(line.text):
        return short or ended or not line.text[0].isalnum()
    if before.bold != line.bold and (short or ended):
        return True
    indented = len(block) > 1 and line.x0 > before.x0 + size  # a second line further in hangs from the first
    return ended and (indented or short) and not line.text[0].islower()


def _kind(block: list[Line], body: float) -> BlockKind:
    text = " ".join(line.text for line in block)
    words = sum(character.isalpha() for character in text) >= 3  # "E - 7" is a page number
    if len(block) <= 3 and len(text) <= 120 and words and not text.endswith(_NO_TITLE_END):
        larger = min(line.size for line in block) > 1.15 * body
        if larger or text.isupper() or all(line.bold for line in block):
            return "title"
    return "list_item" if words and _MARKER.match(text) else "paragraph"


def _words(block: list[Line], width: float, height: float) -> Iterator[Word]:
    """The words of a block on the visible page, with their places in the block's text."""
    offset = 0
    for line in block:
        for start, end, x0, y0, x1, y1 in line.words:
            if x0 < width and x1 > 0 and y0 < height and y1 > 0:
                yield start + offset, end + offset, x0, y0, x1, y1
        offset += len(line.text) + 1


def _box(block: list[Line], width: float, height: float) -> Box | None:
    """None where the block lies wholly outside the visible page."""
    x0, x1 = max(0.0, min(line.x0 for line in block)), min(width, max(line.x1 for line in block))
    y0, y1 = max(0.0, min(line.y0 for line in block)), min(height, max(line.y1 for line in block))
    if x0 >= x1 or y0 >= y1:
        return None
    return Box(x0=round(x0, 2), y0=round(y0, 2), x1=round(x1, 2), y1=round(y1, 2))
