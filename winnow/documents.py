"""What a document is to the rest of Winnow: one text, and the blocks that it is made of."""

import hashlib
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from winnow.exceptions import DocumentError

BlockKind = Literal["title", "paragraph", "list_item", "table"]

SEPARATOR = "\n\n"
"""What stands between two blocks in a document's text."""


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle on a page in PDF points (1/72 inch), from the page's top left corner."""

    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A piece of text as a parser found it, before it has its place in the document's text."""

    kind: BlockKind
    text: str
    page: int | None = None  # from 1; None where the format has no pages
    box: Box | None = None


@dataclass(frozen=True, kw_only=True)
class Block:
    """A title, paragraph, list item or table: `text[start:end]` of its document."""

    kind: BlockKind
    start: int
    end: int
    page: int | None = None
    box: Box | None = None


@dataclass(frozen=True, kw_only=True)
class ParsedDocument:
    """A document's text with its blocks, in reading order and without overlap."""

    text: str
    blocks: tuple[Block, ...]
    media_type: str
    parser: str  # name and version, as "pypdfium2 5.15.2"
    pages: int | None = None

    @property
    def words(self) -> int:
        """The number of words, split at white space."""
        return len(self.text.split())

    @property
    def text_hash(self) -> str:
        """SHA-256 of the text, hexadecimal."""
        return text_hash(self.text)


def text_hash(text: str) -> str:
    """SHA-256 of a text in UTF-8, hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


# What no store or model should see: NUL and other controls (not tab and newline), and halves of surrogate pairs.
_UNSTORABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


# A form feed ends a page and a vertical tab a line: to drop them would join two words.
_BREAKS = str.maketrans("\r\v\f", "\n\n\n")


def clean_text(text: str) -> str:
    """Text that every store takes: without control characters and lone surrogates, with newlines as \\n."""
    return _UNSTORABLE.sub("", text.replace("\r\n", "\n").translate(_BREAKS))


def assemble(pieces: Iterable[Piece], *, media_type: str, parser: str, pages: int | None = None) -> ParsedDocument:
    """Put a parser's pieces into one text with character offsets.

    Raises:
        DocumentError: `no_text` where no piece holds a letter or digit.
    """
    blocks: list[Block] = []
    parts: list[str] = []
    position = 0
    for piece in pieces:
        text = clean_text(piece.text).strip()
        if not text:
            continue
        if parts:
            position += len(SEPARATOR)
        blocks.append(Block(kind=piece.kind, start=position, end=position + len(text), page=piece.page, box=piece.box))
        parts.append(text)
        position += len(text)
    whole = SEPARATOR.join(parts)
    if not any(character.isalnum() for character in whole):
        raise DocumentError("no_text", "it holds no text; a scan needs text recognition first")
    return ParsedDocument(text=whole, blocks=tuple(blocks), media_type=media_type, parser=parser, pages=pages)


def block_at(blocks: Sequence[Block], position: int) -> Block | None:
    """The block that holds a character of the document's text; None between blocks."""
    index = bisect_right(blocks, position, key=lambda block: block.start) - 1
    return blocks[index] if index >= 0 and position < blocks[index].end else None
