"""A document cut into passages, and where each word stands: built once per text and kept for the next question."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from winnow.baseline.dates import FoundDate, find_dates
from winnow.baseline.numbers import FoundNumber, find_numbers
from winnow.baseline.words import WORD, language, stem

# What no store takes (`winnow.documents.clean_text`) ends a line too, so that no evidence ever holds it.
_LINE = re.compile("[^\x00-\x08\n-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]+")
_ITEM = re.compile(r"\s*(?:[-*•●◦▪–—]|\(?(?:[0-9]{1,3}|[a-zA-Z]|[ivxIVX]{1,5})[.)])\s+(?=\S)")
_ROW = 300  # characters; a longer line is a paragraph, whatever it begins with
_LONGEST = 4000  # so that no passage makes the work on it long
_DECORATION = "*_#>`~-•●◦▪ \t|"
_LABELLED = re.compile(
    r"(?P<label>[^:=|\t]{2,80}?)(?:\*\*|__)?\s*(?::(?=[\s*_]|$)|=|\s[–—]\s)(?:\*\*|__)?\s*(?P<value>\S.*)?$"
)
_COLUMNS = re.compile(r"\s*(?P<label>\S(?:[^\t|]{0,50}?\S)?)(?:[ \xa0]{2,}|\t+)\s*(?P<value>\S.*)$")
_SENTENCE_END = re.compile(r"[.!?][\"”’')\]]*\s+(?=[\"“„‘'(\[]?[A-ZÄÖÜÀÉÈ0-9●•])")
_LONG_END = re.compile(r"[;●•:]\s+")
_NO_END = re.compile(
    r"(?:^|[\s(])(?:[A-Z]|[0-9]{1,2}|Dr|Prof|Mr|Mrs|Ms|St|No|Nos|Nr|Art|Abs|Sec|Inc|Co|Corp|Ltd|NO|INC|CO|CORP|LTD"
    r"|Fig|Vol|pp?|vs|cf|al|approx|ca|e\.g|i\.e|bzw|z\.B)$"
)


@dataclass(frozen=True, slots=True)
class Passage:
    """A line, sentence, list item or record of the document: `text[start:end]`. Its words are a run of the index."""

    start: int
    end: int
    kind: str  # row, item, line or sentence
    label: tuple[int, int] | None = None  # of a row "label: value"
    value: tuple[int, int] | None = None
    first: int = 0  # its words in `Index.stems`
    last: int = 0
    heading: int | None = None  # the passage above that says what this one is about


@dataclass(frozen=True)
class Index:
    """Passages, the words in them, and which passages hold a word (with its strength: less for a heading's words)."""

    text: str
    passages: list[Passage]
    stems: list[str]
    spans: list[tuple[int, int]]
    language: str
    postings: dict[str, dict[int, float]] = field(default_factory=dict)
    whole: "Index | None" = None  # of the document, where the text is a part of it

    def rarity(self, root: str) -> float:
        """How much it says that a passage holds this word: the inverse document frequency, between 1 and 5."""
        held = len(self.postings.get(root, ()))
        if not held:
            return 3.0  # what the document never says tells little about which passage is meant
        return min(5.0, max(1.0, math.log((len(self.passages) + 1) / (held + 0.5))))

    def words(self, passage: Passage) -> Iterator[tuple[str, int, int]]:
        """Stem, start and end of each word of a passage."""
        for number in range(passage.first, passage.last):
            yield self.stems[number], *self.spans[number]

    def quote(self, start: int, end: int) -> str:
        """The document's own words."""
        return self.text[start:end]

    @cached_property
    def american(self) -> bool:
        """Whether the document writes its dates with the month first."""
        return self.whole.american if self.whole else self.language == "en" and _is_american(self.text)

    @cached_property
    def dates(self) -> dict[int, list[FoundDate]]:
        """The dates of each passage that has any."""
        found = ((i, find_dates(self.text, p.start, p.end, self.american)) for i, p in enumerate(self.passages))
        return {number: dates for number, dates in found if dates}

    @cached_property
    def numbers(self) -> dict[int, list[FoundNumber]]:
        """The numbers of each passage that has any, but for those in dates."""
        european = self.language in ("de", "fr")
        found = {}
        for number, passage in enumerate(self.passages):
            taken = [(date.start, date.end) for date in self.dates.get(number, ())]
            if numbers := find_numbers(self.text, passage.start, passage.end, taken, european):
                found[number] = numbers
        return found


def _is_american(text: str) -> bool:
    """Whether a text writes its dates with the month first: May 1, 2006."""
    month_first = len(re.findall(r"\b[A-Z][a-z]{2,8}\.? [0-9]{1,2}, [0-9]{4}\b", text))
    day_first = len(re.findall(r"\b[0-9]{1,2}(?:st|nd|rd|th)? [A-Z][a-z]{2,8},? [0-9]{4}\b", text))
    return month_first >= day_first


@lru_cache(maxsize=16)
def index_of(text: str) -> Index:
    """The index of a document's text. Kept for the next cells of the document; safe to call from many threads."""
    return build_index(text)


def build_index(text: str, whole: Index | None = None) -> Index:
    """The index of a text; of a part of a document, in the language of the whole."""
    stems: list[str] = []
    spans: list[tuple[int, int]] = []
    passages: list[Passage] = []
    heading, since = None, 0
    for start, end, kind, label, value in _cut(text):
        first = len(stems)
        for match in WORD.finditer(text, start, end):
            stems.append(stem(match.group()))
            spans.append(match.span())
        since += 1
        about = heading if since <= 12 else None
        passages.append(Passage(start, end, kind, label, value, first, len(stems), about))
        if _is_heading(text[start:end], kind, len(stems) - first):
            heading, since = len(passages) - 1, 0
    small = [text[start:end].casefold() for start, end in spans[:4000] if end - start < 7]
    index = Index(text, passages, stems, spans, whole.language if whole else language(small), whole=whole)
    _fill_postings(index)
    return index


def _fill_postings(index: Index) -> None:
    for number, passage in enumerate(index.passages):
        own = {root for root, _, _ in index.words(passage) if root}
        for root in own:
            index.postings.setdefault(root, {})[number] = 1.0
        if passage.heading is not None:
            strength = 0.6 if passage.heading == number - 1 else 0.35
            above = {root for root, _, _ in index.words(index.passages[passage.heading]) if root}
            for root in above - own:
                index.postings.setdefault(root, {})[number] = strength


def _is_heading(text: str, kind: str, words: int) -> bool:
    bare = text.strip(_DECORATION)
    titled = bare[:1].isupper() or bare[:1].isdigit() or bare.endswith(":")
    return titled and kind != "row" and 0 < words <= 10 and len(bare) <= 90


_Cut = tuple[int, int, str, tuple[int, int] | None, tuple[int, int] | None]


def _cut(text: str) -> Iterator[_Cut]:
    """Rows line by line; other lines run together to paragraphs, which are cut into sentences."""
    paragraph: list[tuple[int, int]] = []  # the lines that are being read
    for match in _LINE.finditer(text):
        line, at = match.group(), match.start()
        row = _row(line, at)
        if row or not line.strip() or not _goes_on(text, paragraph, line, at):
            yield from _sentences(text, paragraph)
            paragraph = []
        if row:
            yield row
        elif line.strip():
            paragraph.append(match.span())
    yield from _sentences(text, paragraph)


def _goes_on(text: str, paragraph: list[tuple[int, int]], line: str, at: int) -> bool:
    """Whether a line belongs to the one before, and does not begin anew after a short one."""
    if not paragraph or text[paragraph[-1][1] : at] != "\n" or _ITEM.match(line):
        return False
    before = text[slice(*paragraph[-1])].strip()
    return not (len(before) < 45 and before[-1] not in ",-–" and line.lstrip()[0].isupper())


def _row(line: str, at: int) -> _Cut | None:
    """A record in one line: "a | b", "Label: value", "Label    value"."""
    label = value = (0, 0)
    if len(line) > _ROW:
        return None
    if "|" in line:
        cells = [m.span() for m in re.finditer(r"[^|]+", line) if m.group().strip(_DECORATION + ":=")]
        if len(cells) < 2:
            return None
        label, value = cells[0], cells[1]
    elif match := (_LABELLED.match(line) or _COLUMNS.match(line)):
        label, value = match.span("label"), match.span("value")
        words = WORD.findall(match.group("label"))
        if value[0] < 0 or not 0 < len(words) <= 7 or re.search(r"[.;,]\s", match.group("label")[3:]):
            return None
    else:
        return None
    label, value = _bare(line, label), _bare(line, value)
    if label[0] >= label[1] or value[0] >= value[1]:
        return None
    whole = _bare(line, (0, len(line)))
    return (
        at + whole[0], at + whole[1], "row", (at + label[0], at + label[1]), (at + value[0], at + value[1])
    )  # fmt: skip


def _bare(line: str, span: tuple[int, int]) -> tuple[int, int]:
    start, end = span
    while start < end and line[start] in _DECORATION + "\xa0":
        start += 1
    while end > start and line[end - 1] in _DECORATION + "\xa0":
        end -= 1
    return start, end


def _sentences(text: str, paragraph: list[tuple[int, int]]) -> Iterator[_Cut]:
    if not paragraph:
        return
    start, end = paragraph[0][0], paragraph[-1][1]
    item = bool(_ITEM.match(text[slice(*paragraph[0])]))
    pieces = list(_pieces(text, start, end))
    for first, last in pieces:
        piece = text[first:last]
        if stripped := piece.strip():
            begin = first + len(piece) - len(piece.lstrip())
            kind = "item" if item and first == start else "line" if len(pieces) == 1 else "sentence"
            yield begin, begin + len(stripped), kind, None, None


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The sentences of a paragraph; one that is very long is cut again where a part of it ends, or anywhere."""
    for first, last in _cut_at(_SENTENCE_END, text, start, end):
        if last - first <= 700:
            yield first, last
            continue
        for begin, stop in _cut_at(_LONG_END, text, first, last, least=80):
            yield from ((at, min(stop, at + _LONGEST)) for at in range(begin, stop, _LONGEST))


def _cut_at(ends: re.Pattern[str], text: str, start: int, end: int, least: int = 0) -> Iterator[tuple[int, int]]:
    for match in ends.finditer(text, start, end):
        before = text[max(start, match.start() - 8) : match.start()]
        if match.end() - start < least or (text[match.start()] == "." and _NO_END.search(before)):
            continue
        yield start, match.end()
        start = match.end()
    yield start, end
