"""What a document is to the rest of Winnow: one text, and the blocks that it is made of."""

import hashlib
import re
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, overload

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


Word = tuple[int, int, float, float, float, float]
"""A word's place: start and end in its block's text, and x0, y0, x1, y1 on its page as in `Box`."""


class PackedWords(Sequence[Word]):
    """Words as 24 bytes each, boxes in tenths of a point: a document's words as tuples would take ten times as much."""

    def __init__(self, packed: bytes) -> None:
        self._numbers = array("i", packed)
        if sys.byteorder == "big":
            self._numbers.byteswap()

    @staticmethod
    def pack(words: Iterable[Word]) -> bytes:
        """The bytes that `PackedWords` reads, little-endian whatever machine wrote them."""
        numbers = array("i")
        for start, end, *box in words:
            numbers.extend((start, end, *(round(10 * side) for side in box)))
        if sys.byteorder == "big":
            numbers.byteswap()
        return numbers.tobytes()

    def __len__(self) -> int:
        return len(self._numbers) // 6

    @overload
    def __getitem__(self, index: int) -> Word: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Word]: ...
    def __getitem__(self, index: int | slice) -> Word | Sequence[Word]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index] * 6
        start, end, x0, y0, x1, y1 = self._numbers[place : place + 6]
        return start, end, x0 / 10, y0 / 10, x1 / 10, y1 / 10

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A piece of text as a parser found it, before it has its place in the document's text."""

    kind: BlockKind
    text: str
    page: int | None = None  # from 1; None where the format has no pages
    box: Box | None = None
    words: tuple[Word, ...] = ()  # where the parser knows them


@dataclass(frozen=True, kw_only=True)
class Block:
    """A title, paragraph, list item or table: `text[start:end]` of its document."""

    kind: BlockKind
    start: int
    end: int
    page: int | None = None
    box: Box | None = None
    words: Sequence[Word] = ()


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


# What no store or model should see: NUL and other controls (not tab and line breaks), and halves of surrogate pairs.
_UNSTORABLE = re.compile("[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff]")


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
        end = position + len(text)
        words = piece.words if text == piece.text else tuple(_moved(piece.words, piece.text))
        blocks.append(Block(kind=piece.kind, start=position, end=end, page=piece.page, box=piece.box, words=words))
        parts.append(text)
        position = end
    whole = SEPARATOR.join(parts)
    if not any(character.isalnum() for character in whole):
        raise DocumentError("no_text", "it holds no text; a scan needs text recognition first")
    return ParsedDocument(text=whole, blocks=tuple(blocks), media_type=media_type, parser=parser, pages=pages)


_DROPPED = re.compile("\r(?=\n)|" + _UNSTORABLE.pattern)


def _moved(words: Iterable[Word], text: str) -> Iterator[Word]:
    """Words of a text at their places after cleaning and stripping; one of which nothing is left is left out."""
    dropped = [match.start() for match in _DROPPED.finditer(text)]
    clean = clean_text(text)
    leading = len(clean) - len(clean.lstrip())
    length = len(clean.strip())
    for start, end, x0, y0, x1, y1 in words:
        new_start, new_end = (
            min(max(0, place - bisect_left(dropped, place) - leading), length) for place in (start, end)
        )
        if new_start < new_end:
            yield new_start, new_end, x0, y0, x1, y1


def block_at(blocks: Sequence[Block], position: int) -> Block | None:
    """The block that holds a character of the document's text; None between blocks."""
    index = bisect_right(blocks, position, key=lambda block: block.start) - 1
    return blocks[index] if index >= 0 and position < blocks[index].end else None
