"""Which passages speak of what a variable asks for, and where in them its words stand."""

import re
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from winnow.baseline.passages import Index, Passage
from winnow.baseline.question import Question, label_match
from winnow.baseline.words import stems

_COLON = re.compile(r"[*_)\s]{0,3}:[*_]{0,2}\s")
_NEXT_LABEL = re.compile(r"(?<=\s)[A-ZÄÖÜÀÉ][\w-]*(?: [a-zß-ÿ][\w-]*){0,3}:\s|\s[-=_]{4}")


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage with its score: 1 where all words of the name stand in it, more with words of the instructions."""

    number: int
    passage: Passage
    score: float


@dataclass(frozen=True, slots=True)
class Row:
    """A place where the document itself labels a value, and how well the label fits the variable."""

    start: int  # of the value
    end: int
    evidence: tuple[int, int]
    match: float
    number: int  # of the passage that holds the value


def ranked(index: Index, question: Question, among: Container[int] | None = None, most: int = 24) -> list[Hit]:
    """The passages that hold words of the question, the best first."""
    core, hints = _coverage(index, question), _sums(index, question.hints)
    whole = sum(weight * index.rarity(root) for root, weight in question.core.items()) or 1.0
    rough = {
        number: core.get(number, 0.0) + min(0.6, hints.get(number, 0.0) / whole)
        for number in core.keys() | hints.keys()
        if among is None or number in among
    }
    best = sorted(rough, key=lambda number: (-rough[number], number))[: most * 2]
    hits = [Hit(number, index.passages[number], _refined(index, question, number, rough[number])) for number in best]
    return sorted(hits, key=lambda hit: (-hit.score, hit.number))[:most]


def _coverage(index: Index, question: Question) -> dict[int, float]:
    """How much of the name each passage holds, or of another name that the instructions give."""
    covered: dict[int, float] = {}
    names = [(1.0, question.core), *((0.8, dict.fromkeys(alias, 1.0)) for alias in question.other_names)]
    for share, words in names:
        whole = sum(weight * index.rarity(root) for root, weight in words.items()) or 1.0
        for number, held in _sums(index, words).items():
            covered[number] = max(covered.get(number, 0.0), share * held / whole)
    return covered


def _sums(index: Index, words: Mapping[str, float]) -> dict[int, float]:
    sums: dict[int, float] = defaultdict(float)
    for root, weight in words.items():
        value = weight * index.rarity(root)
        for number, strength in index.postings.get(root, {}).items():
            sums[number] += value * strength
    return sums


def _refined(index: Index, question: Question, number: int, score: float) -> float:
    """The score with what costs more to look at: phrases, place, length, and words that are not meant."""
    passage = index.passages[number]
    words = [root for root, _, _ in index.words(passage) if root]
    pairs = set(pairwise(words))
    if any(pair in pairs for alias in question.aliases for pair in pairwise(alias)):
        score += 0.2
    score += 0.15 * (1 - passage.start / max(1, len(index.text)))
    score -= 0.1 * min(3, len(question.avoided.intersection(words)))
    return score / (1 + max(0, len(words) - 40) / 120)


def keywords(index: Index, passage: Passage, question: Question) -> list[tuple[int, int, float]]:
    """The question's words in a passage: start, end, weight between 0 and 1."""
    weights = question.weights
    most = max((weight * index.rarity(root) for root, weight in weights.items()), default=1.0)
    return [
        (start, end, weights[root] * index.rarity(root) / most)
        for root, start, end in index.words(passage)
        if root in weights
    ]


def closeness(start: int, end: int, words: list[tuple[int, int, float]]) -> float:
    """How near a span is to the question's words, between 0 and 1; what follows a word is nearer than what precedes."""
    best = 0.0
    for first, last, weight in words:
        distance = start - last if start >= last else 1.8 * (first - end) if end <= first else 0
        best = max(best, weight / (1 + max(0, distance) / 40))
    return best


def rows(index: Index, question: Question, least: float = 0.66) -> list[Row]:
    """The labelled values whose label fits, the best first."""
    names = {root for alias in question.aliases for root in alias}
    candidates = sorted({number for root in names for number in index.postings.get(root, ())})
    found = [row for number in candidates for row in _rows_at(index, question, number) if row.match >= least]
    return sorted(found, key=lambda row: (-row.match, row.number, row.start))


def _rows_at(index: Index, question: Question, number: int) -> Iterator[Row]:
    passage = index.passages[number]
    label = stems(index.quote(*passage.label)) if passage.label else []
    if label and passage.value:
        yield Row(*passage.value, (passage.start, passage.end), label_match(question, label), number)
    yield from _after_names(index, question, number)
    yield from _below(index, question, number)


def _after_names(index: Index, question: Question, number: int) -> Iterator[Row]:
    """What follows a whole name of the variable and a colon, or a name that a short line begins with."""
    passage = index.passages[number]
    words = [word for word in index.words(passage) if word[0]]
    short = passage.kind != "sentence" and len(words) <= 12 and index.text[passage.end - 1] not in ".;?!"
    for alias in question.aliases:
        if passage.label and len(alias) == 1:
            continue
        for place in range(len(words) - len(alias) + 1):
            if tuple(root for root, _, _ in words[place : place + len(alias)]) != alias:
                continue
            at = words[place + len(alias) - 1][2]
            colon = _COLON.match(index.text, at, passage.end)
            if colon or (short and place == 0 and len(words) > len(alias)):
                start, end = _value_from(index.text, colon.end() if colon else at, passage.end)
                yield Row(start, end, (words[place][1], end), 0.95 if colon else 0.9, number)


def _value_from(text: str, start: int, end: int) -> tuple[int, int]:
    """From a label to the next one, or to the end."""
    while start < end and text[start] in " \t\n\xa0|":
        start += 1
    following = _NEXT_LABEL.search(text, start, end)
    end = following.start() if following else end
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _below(index: Index, question: Question, number: int) -> Iterator[Row]:
    """The short line under a line that is nothing but a label."""
    passage = index.passages[number]
    long = passage.last - passage.first > 6 or passage.kind == "sentence"
    if passage.label or long or number + 1 >= len(index.passages):
        return
    value = index.passages[number + 1]
    if value.label is None and value.last - value.first <= 16 and value.kind != "sentence":
        label = [root for root, _, _ in index.words(passage) if root]
        match = label_match(question, label, strict=True)
        if match >= 0.8:
            yield Row(value.start, value.end, (value.start, value.end), match * 0.9, number + 1)
