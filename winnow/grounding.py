"""Where a quote stands in a document: word for word, or after evening out how the same words can be written.

Two rewritings even a text out, the document's and the quote's alike: one for its characters (NFKC, case, quotation
marks, dashes, what cannot be seen), one for its layout (white space, hyphenation, ellipses). Each remembers the places
that it changed, so that a match leads back to the words as they stand.
"""

import re
import unicodedata
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from winnow.documents import Block, block_at
from winnow.extractions import Evidence, Mark

Span = tuple[int, int]

_TRIES = 10_000  # places looked at for one quote: a text of one letter over and over must not hold up a run
_LONG = 8  # a shorter quote that is not word for word must stand as whole words: "No" is not in "know"


class Grounder:
    """Finds quotes in one document. Threads may share it: at worst two of them even the text out at once."""

    def __init__(self, text: str, blocks: Sequence[Block]) -> None:
        self._text = text
        self._blocks = blocks
        self._evened: _Layout | None = None

    def locate(self, quote: str) -> Evidence:
        """Where the quote stands: the first place where it is whole words, else the first place."""
        searches: tuple[tuple[Mark, Callable[[str], Span | None]], ...] = (
            ("exact", self._word_for_word),
            ("normalised", self._evened_out),  # an approximate search would be the third
        )
        if any(character.isalnum() for character in quote):
            for mark, search in searches:
                if span := search(quote):
                    return self._placed(quote, mark, span)
        return Evidence(quote=quote, mark="absent")

    def _word_for_word(self, quote: str) -> Span | None:
        for wanted in (quote, quote.strip()):
            ends = ((at, at + len(wanted)) for at in _places(self._text, wanted))
            whole = next((span for span in ends if _is_whole(self._text, *span)), None)
            first = self._text.find(wanted)
            if whole or first >= 0:
                return whole or (first, first + len(wanted))
        return None

    def _evened_out(self, quote: str) -> Span | None:
        document = self._evened = self._evened or _Layout(_Characters(self._text))
        asked = _Layout(_Characters(quote))
        for wanted in (asked.stripped(" "), asked.stripped(" '…[]()")):  # the quote's own marks may be the model's
            span = document.find(wanted)
            if span:
                return span
        return None

    def _placed(self, quote: str, mark: Mark, span: Span) -> Evidence:
        start, end = span
        words = self._text[start:end]
        block = block_at(self._blocks, start + len(words) - len(words.lstrip()))
        page, box = (block.page, block.box) if block else (None, None)
        return Evidence(quote=quote, mark=mark, start=start, end=end, page=page, box=box)


def _places(text: str, wanted: str) -> Iterator[int]:
    at = text.find(wanted)
    for _ in range(_TRIES):
        if at < 0:
            return
        yield at
        at = text.find(wanted, at + 1)


# Scripts that do not part words with spaces, or not reliably: Thai to Khmer, and the East Asian ones.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")


def _is_whole(text: str, start: int, end: int) -> bool:
    return not any(0 < at < len(text) and _is_inside_word(text[at - 1], text[at]) for at in (start, end))


def _is_inside_word(left: str, right: str) -> bool:
    if not left.isalnum() or _IS_UNSPACED.search(left + right):
        return False
    return right.isalnum() or unicodedata.category(right).startswith("M")


class _Rewriting:
    """A text with some of its parts replaced, and the way back from its characters to the text before."""

    def __init__(self, old: str, pattern: re.Pattern[str] | None, replace: Callable[[re.Match[str]], str]) -> None:
        # Of each replacement: where it begins and ends in the new text, and where in the old one.
        self.begins, self.ends = array("q"), array("q")
        self.old_begins, self.old_ends = array("q"), array("q")
        parts: list[str] = []
        length = done = 0
        for match in pattern.finditer(old) if pattern else ():
            start, end = match.span()
            new = replace(match)
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


_UNIFIED = str.maketrans(
    dict.fromkeys('"`´‘’‚‛“”„‟«»‹›′‵ʹʻʼʽ׳״「」『』〝〞〟', "'")
    | dict.fromkeys("‐‑‒–—―−⁃˗•‣◦▪●■", "-")
    | dict.fromkeys("\r\v\f\x1c\x1d\x1e\x85\u2028\u2029", "\n")
    | {"\t": " ", "\x1f": " ", "\u1680": " ", "〜": "~", "ı": "i"}
)


class _Characters(_Rewriting):
    """NFKC, case-folded, with one form for each kind of mark, and without what cannot be seen.

    Most characters become one other character, all at once by `str.translate`. Only the rest is rewritten piece by
    piece: ligatures, letters with combining marks, zero-width characters.
    """

    def __init__(self, text: str) -> None:
        folded = {character: _fold(character) for character in set(text)}
        unseen = {character for character, new in folded.items() if not new}
        marks = {character for character in folded if _joins_the_one_before(character)}
        longer = {character for character, new in folded.items() if len(new) > 1}
        pieces = unseen | marks | longer
        plain = text.translate({ord(old): old if old in pieces else new for old, new in folded.items()})
        # At most 30 marks to a letter, as in Unicode's stream-safe form: NFKC takes quadratic time to sort them.
        following, alone = "".join(unseen | marks), "".join(unseen | longer)
        choices = ([f".[{following}]{{1,30}}"] if following else []) + ([f"[{alone}]"] if alone else [])
        pattern = re.compile("|".join(choices), re.DOTALL) if choices else None
        super().__init__(plain, pattern, lambda match: _fold(match.group()))


@lru_cache(maxsize=8192)
def _fold(piece: str) -> str:
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
    return not character.isascii() and unicodedata.category(unicodedata.normalize("NFKD", character)[0])[0] == "M"


@dataclass(frozen=True)
class _Wanted:
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
    | (?<=[{_UNSPACED}])[ \n] | [ \n](?=[{_UNSPACED}])
    | '{{2,}}                                  # TeX's double quotation marks
    """,
    re.VERBOSE,
)


class _Layout(_Rewriting):
    """One space between words, and no hyphens: where they stood is kept aside, and compared after the letters.

    So "agree-" at a line's end followed by "ment" is found as "agreement" and as "agree-ment", while "10-12" is
    not found as "1012".
    """

    def __init__(self, characters: _Characters) -> None:
        super().__init__(characters.text, _LAYOUT, _laid_out)
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

    def stripped(self, marks: str) -> _Wanted:
        """This text as something to look for, without these marks at its ends."""
        text = self.text.strip(marks)
        cut = len(self.text) - len(self.text.lstrip(marks))
        places = range(cut, cut + len(text))  # a dash after the last word says nothing
        hard, soft = (frozenset(at - cut for at in all_ if at in places) for all_ in (self._hard, self._soft))
        return _Wanted(text, hard, soft)

    def find(self, wanted: _Wanted) -> Span | None:
        """The place in the document as it stands."""
        if not any(character.isalnum() for character in wanted.text):
            return None
        length = len(wanted.text)
        first = None
        for at in _places(self.text, wanted.text):
            if self._hyphens_agree(at, wanted):
                if self._is_whole(at) and self._is_whole(at + length):
                    return self._place(at, wanted)
                first = at if first is None else first
        return None if first is None or length < _LONG else self._place(first, wanted)

    def _is_whole(self, at: int) -> bool:
        return _is_whole(self.text, at, at) or bool(_between(self._hard, at, at))

    def _hyphens_agree(self, at: int, wanted: _Wanted) -> bool:
        end = at + len(wanted.text)
        hard = {place - at for place in _between(self._hard, at, end)}
        soft = {place - at for place in _between(self._soft, at, end)}
        inner = hard - {0, len(wanted.text)}
        return wanted.hard <= hard | soft and inner <= wanted.hard | wanted.soft

    def _place(self, at: int, wanted: _Wanted) -> Span:
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
    return "" if _IS_UNSPACED.search(around) else " "
