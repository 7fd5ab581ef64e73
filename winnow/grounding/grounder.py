"""Where a quote stands in a document: word for word, evened out, or nearly, in one piece or several."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

from winnow.documents import Block
from winnow.extractions import Evidence, Mark
from winnow.grounding.evening import LONG, Change, Characters, Layout, Rewriting
from winnow.grounding.letters import SHORTEST, Letters
from winnow.grounding.occurrences import Area, Span, best_occurrence
from winnow.grounding.pieces import page_furniture, split_at_gaps
from winnow.grounding.places import places_of
from winnow.grounding.same_words import is_mere_negation
from winnow.grounding.scripts import end_rank

_NEIGHBOURS = 20  # stretches to be near to; the rest are not asked
_PIECES = 50  # of one quote
_ANCHORS = 3  # pieces from which the others are looked for
_CLOSE, _CLOSER = 5_000, 500  # characters to the next piece, and to one of a word or two

_WORSE: tuple[Mark, ...] = ("exact", "normalised", "approximate", "absent")


@dataclass(frozen=True)
class _Found:
    """Where a piece of a quote stands, and what was skipped there."""

    mark: Mark
    score: float
    span: Span
    weight: int  # its letters and digits
    skipped: tuple[Span, ...] = ()


class _View:
    """The document's text, or what is left of it without some stretches, in the forms that quotes are looked for in."""

    def __init__(self, text: str, skipped: tuple[Span, ...] = ()) -> None:
        self.skipped = skipped
        changes: Iterator[Change] = ((start, end, "") for start, end in skipped)
        self._kept = Rewriting(text, changes)

    @cached_property
    def _characters(self) -> Characters:
        return Characters(self._kept.text)

    @cached_property
    def _layout(self) -> Layout:
        return Layout(self._characters)

    @cached_property
    def _letters(self) -> Letters:
        return Letters(self._characters)

    def normalised(self, quote: str, area: Area, *, whole: bool) -> Span | None:
        """Where the quote stands but for the writing."""
        here = area.moved(self._kept.reached)
        asked = _layout(quote)
        for wanted in (asked.stripped(" "), asked.stripped(" '…[]()")):  # the quote's own marks may be the model's
            span = self._layout.find(wanted, here, whole=whole)
            if span:
                return self._kept.origin(*span)
        return None

    def approximate(self, quote: str, area: Area) -> tuple[Span, float] | None:
        """Where nearly the quote stands, and how much of it."""
        passage = self._letters.find(_letters(quote), area.moved(self._kept.reached))
        return (self._kept.origin(passage.start, passage.end), passage.score) if passage else None


class Grounder:
    """Finds quotes in one document. Threads may share it."""

    def __init__(self, text: str, blocks: Sequence[Block]) -> None:
        self._text = text
        self._blocks = blocks

    @cached_property
    def _views(self) -> tuple[_View, ...]:
        """The text as it is, and without what stands between the text of one page and of the next."""
        furniture = page_furniture(self._text, self._blocks)
        return (_View(self._text), *([_View(self._text, furniture)] if furniture else []))

    def locate(self, quote: str, *, within: Span | None = None, near: Sequence[Span] = ()) -> Evidence:
        """Where the quote stands.

        Args:
            quote: What a model quoted. What it left out may be marked by an ellipsis.
            within: The stretch of the text that the model was shown; elsewhere is looked only if it is not there.
            near: Where other evidence of the same answer stands. Of several places the nearest is taken, without
                `near` the first; those that are whole words before others.
        """
        areas = [within, (0, len(self._text))] if within else [(0, len(self._text))]
        for start, end in areas:
            found = self._found(quote, Area(start, end, tuple(near[:_NEIGHBOURS]))) if _weight(quote) else []
            if found:
                return self._evidence(quote, found)
        return Evidence(quote=quote, mark="absent", score=0.0)

    def _found(self, quote: str, area: Area) -> list[_Found]:
        whole = self._as_written(quote, area)
        if whole:
            return [whole]
        pieces = split_at_gaps(quote)
        if len(pieces) > 1:
            return self._in_pieces(pieces, area) if len(pieces) <= _PIECES else []
        nearly = self._nearly(quote, area)
        return [nearly] if nearly else []

    def _as_written(self, quote: str, area: Area, *, whole: bool = False) -> _Found | None:
        span = self._word_for_word(quote, area, whole=whole)
        if span:
            return _Found("exact", 1.0, span, _weight(quote))
        for view in self._views:
            span = view.normalised(quote, area, whole=whole)
            if span:
                return _Found("normalised", 1.0, span, _weight(quote), view.skipped)
        return None

    def _word_for_word(self, quote: str, area: Area, *, whole: bool) -> Span | None:
        fair = 0 if whole or _weight(quote) < LONG else 1
        for wanted in dict.fromkeys((quote, quote.strip())):
            rank = _whole_words(self._text, len(wanted), fair)
            at = best_occurrence(self._text, wanted, area, rank)
            if at is not None:
                return at, at + len(wanted)
        return None

    def _nearly(self, quote: str, area: Area) -> _Found | None:
        for view in reversed(self._views):
            found = view.approximate(quote, area)
            if found:
                return _Found("approximate", found[1], found[0], _weight(quote), view.skipped)
        return None

    def _in_pieces(self, pieces: Sequence[str], area: Area) -> list[_Found]:
        """All pieces, close to each other if they stand so anywhere; or nothing."""
        weighty = sorted(range(len(pieces)), key=lambda index: -_weight(pieces[index]))[:_ANCHORS]
        close = (self._around(pieces, anchor, area, far=False) for anchor in weighty)
        found = next(filter(None, close), []) or self._around(pieces, weighty[0], area, far=True)
        gaps = (self._text[one.span[1] : other.span[0]] for one, other in pairwise(found))
        return [] if any(is_mere_negation(Characters(gap).text) for gap in gaps) else found

    def _around(self, pieces: Sequence[str], anchor: int, area: Area, *, far: bool) -> list[_Found]:
        """One piece first, and from there the others in their order, each near the one before."""
        first = self._as_written(pieces[anchor], area, whole=True) or self._nearly(pieces[anchor], area)
        found = [first] if first else []
        for piece in reversed(pieces[:anchor]) if found else ():
            before = found[0].span
            beside = self._beside(piece, Area(area.start, before[0], (before,)), far=far)
            if not beside:
                return []
            found.insert(0, beside)
        for piece in pieces[anchor + 1 :] if found else ():
            after = found[-1].span
            beside = self._beside(piece, Area(after[1], area.end, (after,)), far=far)
            if not beside:
                return []
            found.append(beside)
        return found

    def _beside(self, piece: str, area: Area, *, far: bool) -> _Found | None:
        """A piece near the one that is already found. Further away stands only what is long or has a figure."""
        start, end = area.near[0]
        reach = _CLOSE if _weight(piece) >= SHORTEST else _CLOSER
        close = Area(max(area.start, start - reach), min(area.end, end + reach), area.near)
        found = self._as_written(piece, close, whole=True) or self._nearly(piece, close)
        telling = _weight(piece) >= SHORTEST or any(character.isdigit() for character in piece)
        return found or (self._as_written(piece, area, whole=True) if far and telling else None)

    def _evidence(self, quote: str, found: Sequence[_Found]) -> Evidence:
        weight = sum(piece.weight for piece in found)
        return Evidence(
            quote=quote,
            mark=max((piece.mark for piece in found), key=_WORSE.index),
            score=sum(piece.score * piece.weight for piece in found) / weight,
            places=tuple(place for piece in found for place in places_of(self._blocks, piece.span, piece.skipped)),
        )


@lru_cache(maxsize=64)  # a quote is looked for in several stretches and forms of the document
def _layout(quote: str) -> Layout:
    return Layout(Characters(quote))


@lru_cache(maxsize=64)
def _letters(quote: str) -> Letters:
    return Letters(Characters(quote))


def _whole_words(text: str, length: int, fair: int) -> Callable[[int], int]:
    def rank(at: int) -> int:
        ends = min(end_rank(text, at), end_rank(text, at + length))
        return fair if ends == 1 else ends

    return rank


def _weight(text: str) -> int:
    return sum(character.isalnum() for character in text)
