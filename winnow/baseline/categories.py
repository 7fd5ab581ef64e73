"""How a category is read: from a labelled value that names it, else by the words that speak for each."""

import math

from winnow.baseline.passages import Index
from winnow.baseline.question import Category, Question
from winnow.baseline.reading import (
    Reading,
    absent,
    evidence_in,
    from_row,
    from_scores,
    is_placeholder,
    listed_in,
    stated,
)
from winnow.baseline.scoring import Hit, ranked, rows
from winnow.baseline.words import stems

_LEAST = 1.0
_MARGIN = 1.25


def read_category(index: Index, question: Question) -> Reading:
    """The category whose words the document uses, if it is well ahead of the others."""
    for row in rows(index, question):
        text = index.quote(row.start, row.end)
        parts = listed_in(text) if question.max_values > 1 else [text]
        if named := [category.value for part in parts if (category := _named(question, part))]:
            return stated(index, [(value, row.evidence) for value in named[: question.max_values]], from_row(row))
    hits = ranked(index, question, most=6)
    scored = sorted(
        ((_score(index, question, hits, category), category.value, category) for category in question.categories),
        key=lambda one: (-one[0], one[1]),
    )
    best, second = ([score for score, _, _ in scored] + [0.0, 0.0])[:2]
    if best < _LEAST or best < _MARGIN * second:
        return absent(best if best < _LEAST else _LEAST * 0.9, _LEAST)
    category = scored[0][2]
    place = _place(index, question, hits, category)
    return stated(index, [(category.value, place)], from_scores(best / 8, second / 8)) if place else absent(0, _LEAST)


def _named(question: Question, text: str) -> Category | None:
    """The category that a labelled value names: by its very value, else by the longest name in it."""
    said = text.strip().casefold()
    for category in question.categories:
        if category.value.casefold() == said:
            return category
    if is_placeholder(text):
        return None
    found = set(stems(text))
    fitting = [
        (len(name), category) for category in question.categories for name in category.names if set(name) <= found
    ]
    return max(fitting, key=lambda pair: pair[0])[1] if fitting else None


def _words(question: Question, category: Category) -> dict[str, float]:
    """The words that speak for a category; the less, the more categories share them."""
    words = dict.fromkeys(category.about, 0.5) | {root: 1.0 for name in category.names for root in name}
    shared = [{root for name in other.names for root in name} | other.about for other in question.categories]
    return {root: weight / sum(root in other for other in shared) ** 2 for root, weight in words.items()}


def _score(index: Index, question: Question, hits: list[Hit], category: Category) -> float:
    """How often the document uses the category's words, and whether a passage on the question names it."""
    score = 0.0
    for root, weight in _words(question, category).items():
        held = sum(strength == 1.0 for strength in index.postings.get(root, {}).values())
        score += weight * min(1.5, math.log1p(held))
    named = [
        hit.score for hit in hits
        if any(set(name) <= {root for root, _, _ in index.words(hit.passage)} for name in category.names)
    ]  # fmt: skip
    return score + 3 * min(1.2, max(named, default=0.0))


def _place(index: Index, question: Question, hits: list[Hit], category: Category) -> tuple[int, int] | None:
    """The passage that speaks most for the category, one on the question before others."""
    words = _words(question, category)
    weights: dict[int, float] = {}
    for root, weight in words.items():
        for number, strength in index.postings.get(root, {}).items():
            if strength == 1.0:
                weights[number] = weights.get(number, 0.0) + weight
    for hit in hits:
        if hit.number in weights:
            weights[hit.number] += min(1.2, hit.score)
    if not weights:
        return None
    passage = index.passages[max(weights, key=lambda number: (weights[number], -number))]
    start, end = next((first, last) for root, first, last in index.words(passage) if root in words)
    return evidence_in(index, passage, start, end)
