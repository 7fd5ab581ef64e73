"""Quotes that are not quite what stands in the document: found by their letters, accepted by their words.

A text is reduced to its letters and digits. Short runs of the quote's letters that are rare in the document show where
the quote may stand; there its ends are set on whole words, and the passage is held against the quote.
"""

from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from rapidfuzz.distance import Levenshtein

from winnow.grounding.evening import Characters
from winnow.grounding.occurrences import Area, Span, best_occurrence, occurrences
from winnow.grounding.same_words import FREQUENT, say_the_same
from winnow.grounding.scripts import end_rank, is_mark, is_whole

SHORTEST, LONGEST = 15, 10_000  # letters and digits of a quote that is looked for in this way
_WRONG = 0.15  # of its letters

_SEEDS = 50  # runs of letters of a quote that are looked for
_RARE = 100  # a run that stands more often shows nothing
_SUPPORT = 2  # runs that must point to the same place
_PLACES = 8  # places that are held against the quote
_TRIES = 1_000  # places of a word that are looked at
_SLACK = 100  # letters by which an end may be off


@dataclass(frozen=True)
class Passage:
    """A stretch of the text that the letters were taken from, and the share of the quote's letters there."""

    start: int
    end: int
    score: float


@dataclass(frozen=True)
class _Hit:
    """A run of letters of the quote, and where it stands in the document."""

    offset: int
    at: int

    @property
    def shift(self) -> int:
        return self.at - self.offset


class Letters:
    """The letters and digits of a text, and where they stand in it."""

    def __init__(self, characters: Characters) -> None:
        self._characters = characters
        self._known: dict[str, int] = {}
        text = self.evened = characters.text
        kept = {character for character in set(text) if character.isalnum() or is_mark(character)}
        self._places = array("q", (at for at, character in enumerate(text) if character in kept))
        self.text = "".join([character for character in text if character in kept])

    def find(self, quote: "Letters", area: Area) -> Passage | None:
        """The passage most like the quote; among equals the nearest, else the first."""
        if not SHORTEST <= len(quote.text) <= LONGEST:
            return None
        here = area.moved(self._characters.reached).moved(lambda at: bisect_left(self._places, at))
        span = self._letter_for_letter(quote, here)
        if span:
            return self._passage(quote, span, 0)
        found = [
            (distance, here.distance(*span), span)
            for span, distance in self._alike(quote, here)
            if self._says(quote, span)
        ]
        return self._passage(quote, min(found)[2], min(found)[0]) if found else None

    def _letter_for_letter(self, quote: "Letters", area: Area) -> Span | None:
        length = len(quote.text)

        def rank(at: int) -> int:
            return 2 if is_whole(self.evened, self._places[at], self._places[at + length - 1] + 1) else 0

        at = best_occurrence(self.text, quote.text, area, rank)
        return None if at is None or not self._says(quote, (at, at + length)) else (at, at + length)

    def _alike(self, quote: "Letters", area: Area) -> Iterator[tuple[Span, int]]:
        most = int(len(quote.text) * _WRONG)
        for anchor in self._anchors(quote.text, most, area):
            start = self._start(quote.text, anchor, most, area)
            end = self._end(quote.text, anchor, most, area)
            if start is not None and end is not None:
                distance = Levenshtein.distance(quote.text, self.text[start:end], score_cutoff=most)
                if distance <= most:
                    yield (start, end), distance

    def _anchors(self, quote: str, most: int, area: Area) -> Iterator[_Hit]:
        """A hit in each of the places to which most hits point."""
        width = max(8, most)
        places: dict[int, list[_Hit]] = defaultdict(list)
        for hit in self._hits(quote, area):
            places[hit.shift // width].append(hit)
            places[hit.shift // width + 1].append(hit)  # each place overlaps the next
        middles = [sorted(hits, key=lambda hit: hit.shift)[len(hits) // 2] for hits in places.values()]
        supported = [
            (-support, area.distance(hit.at, hit.at), hit.shift, hit)
            for hits, hit in zip(places.values(), middles, strict=True)
            if (support := len({one.offset for one in hits})) >= _SUPPORT
        ]
        for *_, hit in sorted(supported, key=lambda ranked: ranked[:3])[:_PLACES]:
            yield hit

    def _hits(self, quote: str, area: Area) -> list[_Hit]:
        size = 5 if len(quote) < 60 else 8
        step = max(1, (len(quote) - size) // _SEEDS)
        hits: list[_Hit] = []
        for offset in range(0, len(quote) - size + 1, step):
            seed = quote[offset : offset + size]
            places = list(islice(occurrences(self.text, seed, area.start, area.end), _RARE + 1))
            if len(places) <= _RARE:
                hits.extend(_Hit(offset, at) for at in places)
        return hits

    def _start(self, quote: str, anchor: _Hit, most: int, area: Area) -> int | None:
        """The word at which the passage begins best; of equals the last."""
        slack = min(_SLACK, most + 2)
        wide = range(min(anchor.shift + slack, anchor.at), max(anchor.shift - slack, area.start) - 1, -1)
        starts = [at for at in wide if end_rank(self.evened, self._places[at]) == 2]
        head = quote[: anchor.offset]
        return min(starts, key=lambda at: Levenshtein.distance(head, self.text[at : anchor.at]), default=None)

    def _end(self, quote: str, anchor: _Hit, most: int, area: Area) -> int | None:
        """The word with which it ends best; of equals the first."""
        slack = min(_SLACK, most + 2)
        guess = anchor.shift + len(quote)
        wide = range(max(guess - slack, anchor.at + 1), min(guess + slack, area.end) + 1)
        ends = [at for at in wide if end_rank(self.evened, self._places[at - 1] + 1) == 2]
        tail = quote[anchor.offset :]
        return min(ends, key=lambda at: Levenshtein.distance(tail, self.text[anchor.at : at]), default=None)

    def _says(self, quote: "Letters", span: Span) -> bool:
        start, end = self._before(span)
        return say_the_same(quote.evened, self.evened[start:end], self._times)

    def _times(self, word: str) -> int:
        """How often a word stands in the text, up to a few times."""
        if word not in self._known:
            places = occurrences(self.evened, word, 0, len(self.evened))
            whole = (at for at in islice(places, _TRIES) if is_whole(self.evened, at, at + len(word)))
            self._known[word] = sum(1 for _ in islice(whole, FREQUENT + 1))
        return self._known[word]

    def _before(self, span: Span) -> Span:
        """Where these letters stand in the evened-out text, with a minus sign before them."""
        start, end = self._places[span[0]], self._places[span[1] - 1] + 1
        signed = start and self.evened[start].isnumeric() and self.evened[start - 1] == "-"
        return start - 1 if signed else start, end

    def _passage(self, quote: "Letters", span: Span, distance: int) -> Passage:
        start, end = self._characters.origin(*self._before(span))
        return Passage(start, end, 1 - max(distance, 1) / len(quote.text))  # something differs, if not a letter
