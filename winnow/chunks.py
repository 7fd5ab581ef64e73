"""The stretches in which a long document is read: along its blocks, of about one size, each with the end of the last.

A document is a row of units: whole blocks, and of a long block its rows or sentences. A chunk is a run of units.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from winnow.codebook import Chunking
from winnow.documents import Block, BlockKind, block_at
from winnow.tokens import count_tokens

_TOO_SHORT = 100  # tokens: what is not cut in half any more
_REACH = 400  # characters back from a place to the beginning of its sentence
_FRAGMENT = 200  # characters of a sentence that is too long for a chunk

_Span = tuple[int, int]

# A sentence's end, but not after a number, which may be a list's, nor after one or two letters, an abbreviation.
_SENTENCE = re.compile(
    r"(?<!\b\w)(?<!\b\w\w)(?<![\s.\d])[.!?…؟۔।]['\"”’»)\]]*\s+(?![\sa-zß-ÿ])|[。！？]['\"”’」』）]*\s*|\n[ \t]*\n\s*"
)
_LINE = re.compile(r"\n\s*")
_NEW_LINE = re.compile(r"\n\s*(?![\sa-zß-ÿ])")  # one that does not go on in lower case
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True)
class Chunk:
    """A stretch of a document: `text[start:end]`, the first of them number 1."""

    start: int
    end: int
    number: int
    of: int


class _Unit(NamedTuple):
    start: int
    end: int
    tokens: int
    title: bool
    begins_block: bool


def chunks(text: str, blocks: Sequence[Block], chunking: Chunking) -> tuple[Chunk, ...]:
    """Cut a document into chunks of about `chunking.tokens` tokens.

    All that is not white space is in one of them. They are in order, and none lies within another. A chunk ends with a
    block where that leaves it half full at least, else with a row or a sentence; not with a title, for which it may
    become half as long again.
    """
    size = chunking.tokens
    units = list(_units(text, blocks, 0, len(text), whole=size // 2, limit=size))
    spans: list[_Span] = []
    first = 0  # the first unit that is in no chunk yet
    start = units[0].start if units else 0
    repeated = 0  # tokens of the chunk before that the next one begins with
    while first < len(units):
        after = _end_of_chunk(units, first, size - repeated)
        spans.append((start, units[after - 1].end))
        if after < len(units):
            room = min(int(size * chunking.overlap), size - _least(units, after, size))
            start, repeated = _overlap(text, blocks, units, after, start, room)
        first = after
    return tuple(Chunk(start, end, number, len(spans)) for number, (start, end) in enumerate(spans, start=1))


def halves(text: str, blocks: Sequence[Block], start: int, end: int) -> tuple[_Span, _Span] | None:
    """Cut a stretch near its middle, between blocks, rows or sentences where it has two of them.

    Returns:
        Both parts; None where it has fewer than 100 tokens.
    """
    units = list(_units(text, blocks, start, end, whole=0, limit=end - start))
    tokens = sum(unit.tokens for unit in units)
    if tokens < _TOO_SHORT:
        return None
    if len(units) == 1:
        parts = _parts(text, units[0].start, units[0].end, tokens // 2, (_LINE,))
        units = [_Unit(*part, title=False, begins_block=False) for part in parts]
    done = list(accumulate(unit.tokens for unit in units))

    def unfitness(last: int) -> tuple[bool, bool, float]:
        distance = abs(done[last] / done[-1] - 0.5)
        return units[last].title, not units[last + 1].begins_block or distance > 0.2, distance

    last = min(range(len(units) - 1), key=unfitness)
    return (start, units[last].end), (units[last + 1].start, end)


def window_from(text: str, blocks: Sequence[Block], start: int, end: int, position: int) -> int:
    """Where the row, line or sentence begins that holds a place of `text[start:end]`; else its word.

    A line that goes on in lower case is a part of the one before. Looks a few hundred characters back at most.
    """
    position = max(start, min(position, end - 1))
    block = block_at(blocks, position)
    begin = max(start, block.start) if block else start
    low = max(begin, position - _REACH)
    patterns = (_LINE,) if block and block.kind == "table" else (_SENTENCE, _NEW_LINE)
    starts = [match.end() for pattern in patterns for match in pattern.finditer(text, low, position + 1)]
    if low == begin:
        starts.append(begin)
    if not starts:
        starts = [match.end() for match in _SPACE.finditer(text, low, position)]
    return max((at for at in starts if at <= position), default=position)


def _least(units: Sequence[_Unit], first: int, size: int) -> int:
    """Tokens of the least that a chunk must take: one unit, with the titles before it. Counts up to `size`."""
    tokens = 0
    for index in range(first, len(units)):
        tokens += units[index].tokens
        if tokens >= size or not units[index].title:
            break
    return tokens


def _end_of_chunk(units: Sequence[_Unit], first: int, size: int) -> int:
    """The unit after a chunk of `size` tokens that goes on from `first`: always one unit further at least."""
    tokens, after, good = units[first].tokens, first + 1, 0
    while after < len(units) and tokens + units[after].tokens <= size:
        if tokens * 2 >= size and units[after].begins_block and not units[after - 1].title:
            good = after
        tokens += units[after].tokens
        after += 1
    if after == len(units):
        return after
    if units[after].begins_block and not units[after - 1].title:
        return after
    if good:
        return good
    end = after
    while end > first and units[end - 1].title:
        end -= 1
    if end > first:
        return end
    while after < len(units) and units[after - 1].title and tokens * 2 < size:  # titles and no more: take what follows
        tokens += units[after].tokens
        after += 1
    return after


def _overlap(
    text: str, blocks: Sequence[Block], units: Sequence[_Unit], after: int, start: int, room: int
) -> tuple[int, int]:
    """Where the chunk after one from `start` up to the unit `after` begins, and how many tokens it has of it.

    As much as there is room for: whole blocks if they are half of that, else rows and sentences.
    """
    best = (False, 0, units[after].start)
    index, tokens = after - 1, 0
    while index >= 0 and units[index].start > start and tokens + units[index].tokens <= room:
        tokens += units[index].tokens
        best = max(best, (units[index].begins_block and tokens * 2 >= room, tokens, units[index].start))
        index -= 1
    if index >= 0 and not best[0] and tokens < room:
        last = units[index]
        for part in reversed(list(_units(text, blocks, last.start, last.end, whole=0, limit=room))):
            tokens += part.tokens
            if part.start <= start or tokens > room:
                break
            best = (False, tokens, part.start)
    return best[2], best[1]


def _units(text: str, blocks: Sequence[Block], start: int, end: int, *, whole: int, limit: int) -> Iterator[_Unit]:
    """What `text[start:end]` is made of: blocks of up to `whole` tokens, and rows and sentences of longer ones.

    A row or sentence of more than `limit` tokens is cut further.
    """
    for block_start, block_end, kind in _stretches(text, blocks, start, end):
        title = kind == "title"
        tokens = _tokens(text, block_start, block_end)
        if tokens <= whole:
            yield _Unit(block_start, block_end, tokens, title, True)
            continue
        patterns = (_LINE,) if kind == "table" else (_SENTENCE, _LINE)
        for part in _parts(text, block_start, block_end, limit, patterns):
            yield _Unit(*part, title=title, begins_block=part[0] == block_start)


def _stretches(text: str, blocks: Sequence[Block], start: int, end: int) -> Iterator[tuple[int, int, BlockKind]]:
    """The blocks in `text[start:end]`, and what stands between them, without white space at the ends."""
    at = start
    for index in range(max(0, bisect_right(blocks, start, key=lambda block: block.start) - 1), len(blocks)):
        block = blocks[index]
        if block.start >= end:
            break
        yield from ((*span, "paragraph") for span in _stripped(text, at, block.start))
        yield from ((*span, block.kind) for span in _stripped(text, max(at, block.start), min(block.end, end)))
        at = max(at, block.end)
    yield from ((*span, "paragraph") for span in _stripped(text, at, end))


def _stripped(text: str, start: int, end: int) -> Iterator[_Span]:
    """The span without white space at its ends; nothing where there is nothing else."""
    words = text[start:end] if start < end else ""
    if words and not words.isspace():
        yield start + len(words) - len(words.lstrip()), start + len(words.rstrip())


def _parts(
    text: str, start: int, end: int, limit: int, patterns: tuple[re.Pattern[str], ...]
) -> Iterator[tuple[int, int, int]]:
    """A span cut behind every match of the first pattern, and parts of more than `limit` tokens by the next one.

    Yields:
        Start, end and tokens of each part, without white space at its ends.
    """
    cuts = (match.end() for match in patterns[0].finditer(text, start, end)) if patterns else None
    for part_start, part_end in _cut(
        text, start, end, cuts or _word_ends(text, start, end, max(1, min(limit - 1, _FRAGMENT)))
    ):
        tokens = _tokens(text, part_start, part_end)
        if tokens > limit and patterns:
            yield from _parts(text, part_start, part_end, limit, patterns[1:])
        else:
            yield part_start, part_end, tokens


def _tokens(text: str, start: int, end: int) -> int:
    return count_tokens(text[start:end]) + 1  # for the white space behind it


def _cut(text: str, start: int, end: int, cuts: Iterator[int]) -> Iterator[_Span]:
    for cut in cuts:
        yield from _stripped(text, start, cut)
        start = cut
    yield from _stripped(text, start, end)


def _word_ends(text: str, start: int, end: int, length: int) -> Iterator[int]:
    """Places at most so many characters apart: between words, else anywhere but before a mark on a letter."""
    while end - start > length:
        cut = start + length
        words = text[start : cut + 1].rsplit(maxsplit=1)
        if len(words) == 2 and not text[cut].isspace():
            cut -= len(words[1]) - 1
        else:
            while cut > start + 1 and unicodedata.category(text[cut]).startswith("M"):
                cut -= 1
        yield cut
        start = cut
