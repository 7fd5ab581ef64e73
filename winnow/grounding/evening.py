"""A text evened out: its characters first, then its layout, each with the way back to the words as they stand.

Both the document and the quote are evened out. The characters: NFKC, case, quotation marks, dashes, what cannot be
seen. The layout: white space, hyphenation, ellipses. A quote that differs in these alone is the same quote.
"""

import re
import unicodedata
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from winnow.grounding.occurrences import Area, Span, best_occurrence
from winnow.grounding.scripts import IS_UNSPACED, UNSPACED, end_rank, is_mark

LONG = 8
"""A shorter quote must stand as whole words: "No" is not in "know"."""

Change = tuple[int, int, str]
"""What is replaced: its start and end, and what stands there instead."""


class Rewriting:
    """A text with some of its parts replaced, and the way back from its characters to the text before."""

    def __init__(self, old: str, changes: Iterable[Change]) -> None:
        # Of each replacement: where it begins and ends in the new text, and where in the old one.
        self.begins, self.ends = array("q"), array("q")
        self.old_begins, self.old_ends = array("q"), array("q")
        parts: list[str] = []
        length = done = 0
        for start, end, new in changes:
            parts += old[done:start], new
            length += start - done
            self.begins.append(length)
            length += len(new)
            self.ends.append(length)
            self.old_begins.append(start)
            self.old_ends.append(end)
            done = end
        self.old = old
        self.text = "".join([*parts, old[done:]])

    def origin(self, start: int, end: int) -> Span:
        """What `text[start:end]`, which is not empty, was in the old text; a replacement counts as a whole."""
        return self._origin(start)[0], self._origin(end - 1)[1]

    def _origin(self, position: int) -> Span:
        index = bisect_right(self.begins, position) - 1
        if index < 0:
            return position, position + 1
        if position < self.ends[index]:
            return self.old_begins[index], self.old_ends[index]
        old = self.old_ends[index] + position - self.ends[index]
        return old, old + 1

    def reached(self, position: int) -> int:
        """Where a place in the old text is now; one in a replacement is at its beginning."""
        index = bisect_right(self.old_begins, position) - 1
        if index < 0:
            return position
        if position < self.old_ends[index]:
            return self.begins[index]
        return self.ends[index] + position - self.old_ends[index]


def _changes(old: str, pattern: re.Pattern[str] | None, replace: Callable[[re.Match[str]], str]) -> Iterator[Change]:
    for match in pattern.finditer(old) if pattern else ():
        yield *match.span(), replace(match)


_UNIFIED = str.maketrans(
    dict.fromkeys('"`´‘’‚‛“”„‟«»‹›′‵ʹʻʼʽ׳״「」『』〝〞〟', "'")
    | dict.fromkeys("‐‑‒–—―−⁃˗•‣◦▪●■", "-")
    | dict.fromkeys("\r\v\f\x1c\x1d\x1e\x85\u2028\u2029", "\n")
    | {"\t": " ", "\x1f": " ", "\u1680": " ", "〜": "~", "ı": "i"}
)


class Characters(Rewriting):
    """NFKC, case-folded, with one form for each kind of mark, and without what cannot be seen.

    Most characters become one other character, all at once by `str.translate`. Only the rest is rewritten piece by
    piece: ligatures, letters with combining marks, zero-width characters.
    """

    def __init__(self, text: str) -> None:
        folded = {character: fold(character) for character in set(text)}
        unseen = {character for character, new in folded.items() if not new}
        marks = {character for character in folded if _joins_the_one_before(character)}
        longer = {character for character, new in folded.items() if len(new) > 1}
        pieces = unseen | marks | longer
        plain = text.translate({ord(old): old if old in pieces else new for old, new in folded.items()})
        # At most 30 marks to a letter, as in Unicode's stream-safe form: NFKC takes quadratic time to sort them.
        following, alone = "".join(unseen | marks), "".join(unseen | longer)
        choices = ([f".[{following}]{{1,30}}"] if following else []) + ([f"[{alone}]"] if alone else [])
        pattern = re.compile("|".join(choices), re.DOTALL) if choices else None
        super().__init__(plain, _changes(plain, pattern, lambda match: fold(match.group())))


@lru_cache(maxsize=8192)
def fold(piece: str) -> str:
    """A character with its marks, evened out."""
    seen = "".join(character for character in piece if not _is_unseen(character)).translate(_UNIFIED)
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", seen).casefold())
    return folded.translate(_UNIFIED).replace("i\u0307", "i")  # what case folding leaves of the Turkish İ


def _is_unseen(character: str) -> bool:
    """Zero-width and direction marks, variation selectors, the Arabic stretch. The soft hyphen is layout."""
    if "\ufe00" <= character <= "\ufe0f" or character in "\u034f\u0640":
        return True
    return character != "\xad" and unicodedata.category(character) == "Cf"


def _joins_the_one_before(character: str) -> bool:
    if "\u1160" <= character <= "\u11ff" or "\ud7b0" <= character <= "\ud7fb":  # parts of Korean syllables
        return True
    return not character.isascii() and is_mark(unicodedata.normalize("NFKD", character)[0])


@dataclass(frozen=True)
class Wanted:
    """What to look for, and where in it hyphens and dashes stood: those that must be there, and those that may."""

    text: str
    hard: frozenset[int]
    soft: frozenset[int]


_LAYOUT = re.compile(
    rf"""[ \n]*+(?:
        [-\xad][-\xad \n]*                     # a hyphen or dash with the white space around it
        | \.(?:[ \n]*+\.){{2,}}[ \n]*           # an ellipsis, or the dots in a table of contents
    )
    | [ \n]{{2,}}
    | (?<=[{UNSPACED}])[ \n] | [ \n](?=[{UNSPACED}])
    | '{{2,}}                                  # TeX's double quotation marks
    """,
    re.VERBOSE,
)


class Layout(Rewriting):
    """One space between words, and no hyphens: where they stood is kept aside, and compared after the letters.

    So "agree-" at a line's end followed by "ment" is found as "agreement" and as "agree-ment", while "10-12" is
    not found as "1012".
    """

    def __init__(self, characters: Characters) -> None:
        super().__init__(characters.text, _changes(characters.text, _LAYOUT, _laid_out))
        self.text = self.text.replace("\n", " ")
        self._characters = characters
        self._hard, self._soft = array("q"), array("q")
        for at, start, end in zip(self.begins, self.old_begins, self.old_ends, strict=True):
            gap = self.old[start:end]
            if "-" in gap or "\xad" in gap:
                (self._soft if self._is_hyphenation(gap, start, end) else self._hard).append(at)

    def _is_hyphenation(self, gap: str, start: int, end: int) -> bool:
        if "-" not in gap:
            return True
        at_line_end = gap[0] not in " \n" and gap[-1] in " \n"
        return at_line_end and self.old[start - 1 : start].isalpha() and self.old[end : end + 1].isalpha()

    def stripped(self, marks: str) -> Wanted:
        """This text as something to look for, without these marks at its ends."""
        text = self.text.strip(marks)
        cut = len(self.text) - len(self.text.lstrip(marks))
        places = range(cut, cut + len(text))  # a dash after the last word says nothing
        hard, soft = (frozenset(at - cut for at in all_ if at in places) for all_ in (self._hard, self._soft))
        return Wanted(text, hard, soft)

    def find(self, wanted: Wanted, area: Area, *, whole: bool = False) -> Span | None:
        """The place in the text that the characters were read from; `area` is one of it too."""
        length = len(wanted.text)
        fair = 0 if whole or length < LONG else 1

        def rank(at: int) -> int:
            if not self._hyphens_agree(at, wanted):
                return 0
            ends = min(self._end_rank(at), self._end_rank(at + length))
            return fair if ends == 1 else ends

        if not any(character.isalnum() for character in wanted.text):
            return None
        here = area.moved(self._characters.reached).moved(self.reached)
        at = best_occurrence(self.text, wanted.text, here, rank)
        return None if at is None else self._place(at, wanted)

    def _end_rank(self, at: int) -> int:
        return 2 if _between(self._hard, at, at) else end_rank(self.text, at)

    def _hyphens_agree(self, at: int, wanted: Wanted) -> bool:
        end = at + len(wanted.text)
        hard = {place - at for place in _between(self._hard, at, end)}
        soft = {place - at for place in _between(self._soft, at, end)}
        inner = hard - {0, len(wanted.text)}
        return wanted.hard <= hard | soft and inner <= wanted.hard | wanted.soft

    def _place(self, at: int, wanted: Wanted) -> Span:
        start, end = self.origin(at, at + len(wanted.text))
        index = bisect_left(self.begins, at)
        if 0 in wanted.hard and index < len(self.begins) and self.ends[index] == at:
            start = self.old_begins[index]  # the dash or minus sign that the quote begins with
        while self.old[start] in " \n":
            start += 1
        return self._characters.origin(start, end)


def _between(places: Sequence[int], start: int, end: int) -> Sequence[int]:
    return places[bisect_left(places, start) : bisect_right(places, end)]


def _laid_out(match: re.Match[str]) -> str:
    gap = match.group()
    if "." in gap:
        return "…"
    if "'" in gap:
        return "'"
    if "-" in gap or "\xad" in gap:
        return ""
    start, end = match.span()
    around = match.string[start - 1 : start] + match.string[end : end + 1]
    return "" if IS_UNSPACED.search(around) else " "
