"""The pieces of a quote that leaves something out, and what parts the text of a page from the next one."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from winnow.documents import Block
from winnow.grounding.occurrences import Span

_LEFT_OUT = re.compile(
    r"""[\[(<]\s*(?:\.(?:\s*\.){1,20}|…|\*(?:\s*\*){0,20}|omitted|snip)\s*[\])>]   # [...] (…) <omitted> [***]
    | \.(?:\s{0,9}\.){2,} | …+ | \*(?:\s{0,9}\*){2,}                               # ... * * *
    """,
    re.VERBOSE | re.IGNORECASE,
)

_EDGE = 2  # blocks at the top and the bottom of a page that may be its furniture
_FURNITURE = 150  # characters of such a block at most


def split_at_gaps(quote: str) -> list[str]:
    """The pieces between the marks that say that something was left out."""
    pieces = (piece.strip() for piece in _LEFT_OUT.split(quote))
    return [piece for piece in pieces if any(character.isalnum() for character in piece)]


def page_furniture(text: str, blocks: Sequence[Block]) -> tuple[Span, ...]:
    """Running heads, footers and page numbers: short blocks at the edges of pages that come back on other pages."""
    edges = {(block.start, block.end): block.page for block in _edges(blocks) if block.end - block.start <= _FURNITURE}
    written = {span: _without_numbers(text[slice(*span)]) for span in edges}
    pages = len(set(edges.values()))
    seen = Counter(key for _, key in {(edges[span], key) for span, key in written.items()})
    return tuple(sorted(span for span, key in written.items() if seen[key] >= max(2, pages / 4)))


def _edges(blocks: Sequence[Block]) -> Iterator[Block]:
    for page, group in groupby(blocks, lambda block: block.page):
        listed = list(group)
        if page is not None:
            yield from listed[:_EDGE]
            yield from listed[-_EDGE:]


def _without_numbers(text: str) -> str:
    return " ".join(re.sub(r"\d+", "#", text.casefold()).split())
