"""How numbers, dates, booleans and categories are read: from a labelled value, else from the best passages."""

import re
from collections.abc import Iterator
from itertools import pairwise

from winnow.baseline.dates import FoundDate
from winnow.baseline.numbers import FoundNumber, unit_of
from winnow.baseline.passages import Index, Passage
from winnow.baseline.question import Question
from winnow.baseline.reading import (
    Candidate,
    Reading,
    absent,
    chosen,
    evidence_in,
    from_row,
    from_scores,
    left_open,
    stated,
)
from winnow.baseline.scoring import closeness, keywords, ranked, rows
from winnow.baseline.words import NEGATIONS, WORD, stem, stems

_LEAST = 0.3
_LEAST_BOOLEAN = 0.75
_YES = re.compile(r"\W*(?:yes|true|required|ja|oui|x)\b|\W*[✓✔☑☒]", re.IGNORECASE)
_NO = re.compile(r"\W*(?:no|not|false|none|nein|nicht|keine?|non|aucune?)\b|\W*[☐✗✘]", re.IGNORECASE)
_STARTS, _ENDS = frozenset(stems("start effective since opening")), frozenset(stems("end close closing"))
_APART = re.compile(r"[,;:()]")
_FROM = re.compile(r"\b(?:from|since|as of|vom|von|ab|du|dès)(?: and including)?(?: the)?\s*$", re.IGNORECASE)
_TO = re.compile(
    r"(?:\b(?:to|until|till|through|including|bis(?: zum)?|au|jusqu['’]au)|[–—-])(?: the)?\s*$", re.IGNORECASE
)


def read_number(index: Index, question: Question) -> Reading:
    """The number nearest to the variable's words, in its unit."""
    for row in rows(index, question):
        here = [number for number in index.numbers.get(row.number, ()) if row.start <= number.start < row.end]
        fitting = [(number.value, row.evidence) for number in here if _fit(question, number, in_row=True) >= 0.5]
        if fitting:
            return stated(index, fitting[: question.max_values], from_row(row))
        if reading := left_open(index, row):
            return reading
    return chosen(index, list(_number_candidates(index, question)), question.max_values, _LEAST)


def _number_candidates(index: Index, question: Question) -> Iterator[Candidate]:
    for hit in ranked(index, question, index.numbers):
        words = keywords(index, hit.passage, question)
        for number in index.numbers[hit.number]:
            near = 0.3 + 0.7 * closeness(number.start, number.end, words)
            score = min(1.3, hit.score) * near * _fit(question, number)
            yield Candidate(number.value, evidence_in(index, hit.passage, number.start, number.end), score)


def _fit(question: Question, number: FoundNumber, in_row: bool = False) -> float:
    """How well what stands beside a number goes with the unit asked for."""
    wanted = unit_of(question.unit)
    if wanted and number.unit:
        return 1.0 if number.unit == wanted else 0.0
    if wanted:
        return 0.5 if in_row else 0.25
    if question.unit:
        beside = stems(" ".join(WORD.findall(number.after)[:3]))
        return 1.0 if set(beside) & set(stems(question.unit)) else 0.0 if number.unit else 0.5
    is_year = len(number.value) == 4 and "1500" <= number.value <= "2199"
    return 0.4 if is_year and stem("year") not in question.weights else 0.9


def read_date(index: Index, question: Question) -> Reading:
    """The date nearest to the variable's words; in a span of time its first or last day, as the name asks."""
    for row in rows(index, question):
        dates = [date for date in index.dates.get(row.number, ()) if row.start <= date.start < row.end]
        if dates:
            best = sorted(dates, key=lambda one: -_side(index, question, one))[: question.max_values]
            return stated(index, [(date.value, row.evidence) for date in best], from_row(row))
        if reading := left_open(index, row):
            return reading
    return chosen(index, list(_date_candidates(index, question)), question.max_values, _LEAST)


def _date_candidates(index: Index, question: Question) -> Iterator[Candidate]:
    hits = {hit.number: hit.score for hit in ranked(index, question, index.dates)}
    if _edge(question):
        spans = (number for number, dates in index.dates.items() if _is_span(index, dates))
        hits |= {number: max(hits.get(number, 0.0), 0.7) for number in spans}
    for number, score in hits.items():
        passage = index.passages[number]
        words = keywords(index, passage, question)
        for date in index.dates[number]:
            near = 0.4 + 0.6 * closeness(date.start, date.end, words)
            exact = 1.0 if len(date.value) == 10 else 0.6
            weight = min(1.3, score) * near * exact * _side(index, question, date)
            yield Candidate(date.value, evidence_in(index, passage, date.start, date.end), weight)


def _edge(question: Question) -> str:
    starts, ends = bool(_STARTS & set(question.core)), bool(_ENDS & set(question.core))
    return "" if starts == ends else "start" if starts else "end"


def _is_span(index: Index, dates: list[FoundDate]) -> bool:
    return any(_TO.search(index.text, first.end, second.start) for first, second in pairwise(dates))


def _side(index: Index, question: Question, date: FoundDate) -> float:
    before = index.text[max(0, date.start - 30) : date.start]
    opens, closes = bool(_FROM.search(before)), bool(_TO.search(before))
    edge = _edge(question)
    if edge == "start":
        return 0.6 if closes else 1.3 if opens else 1.0
    if edge == "end":
        return 1.5 if closes else 0.6 if opens else 1.0
    return 1.0


def read_boolean(index: Index, question: Question) -> Reading:
    """True where a passage says what is asked, false where it denies it, nothing where none speaks of it."""
    for row in rows(index, question):
        said = index.quote(row.start, row.end)
        if _YES.match(said) or _NO.match(said):
            return stated(index, [("false" if _NO.match(said) else "true", row.evidence)], from_row(row))
        if reading := left_open(index, row):
            return reading
    hits = ranked(index, question, most=6)
    best = hits[0].score if hits else 0.0
    if best < _LEAST_BOOLEAN:
        return absent(best, _LEAST_BOOLEAN)
    passage = hits[0].passage
    words = keywords(index, passage, question)
    start, end, _ = max(words, key=lambda word: word[2], default=(passage.start, passage.start, 0.0))
    denied = not question.negative and _is_denied(index, passage, question)
    span = evidence_in(index, passage, start, end)
    return stated(index, [("false" if denied else "true", span)], from_scores(best))


def _is_denied(index: Index, passage: Passage, question: Question) -> bool:
    """Whether every mention of the name's words is denied: not, no or without before it, or not after it."""
    found = WORD.finditer(index.text, passage.start, passage.end)
    said = [(match.group().casefold(), match.start()) for match in found]
    places = [place for place, (word, _) in enumerate(said) if stem(word) in question.core]
    return bool(places) and all(_denied_at(index, said, place) for place in places)


def _denied_at(index: Index, said: list[tuple[str, int]], place: int) -> bool:
    at = said[place][1]
    before = [where for word, where in said[max(0, place - 4) : place] if word in NEGATIONS - {"non"}]
    before += [where for word, where in said[max(0, place - 1) : place] if word == "non"]
    after = [where for word, where in said[place + 1 : place + 5] if word in ("not", "nicht")]
    return any(not _APART.search(index.text, min(at, where), max(at, where)) for where in before + after)
