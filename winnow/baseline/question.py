"""What a variable asks for: its words with their weights, its other names, and what its examples look like."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from winnow.baseline.words import NEGATIONS, WORD, is_asking, stem, stems

_CLAUSE = re.compile(r"(?<=[.;!?])\s+")
_TURN = re.compile(r",\s*(?:but\s+)?(?=(?:not|without|never|nor)\b)|\s+but\s+(?=not\b)", re.IGNORECASE)
_LEAVING_OUT = re.compile(r",?\s+(?=without\b)", re.IGNORECASE)
_DENIES = re.compile(r"(?:not|without|never|no|nor|do not|don't)\b", re.IGNORECASE)
_NO_ANSWER = re.compile(r"(?:leave|empty if|false if|record 0|if nothing|if none|otherwise)\b", re.IGNORECASE)
_CALLED = re.compile(r"\b(?:called|known as|named|titled|labelled|termed)\s+(.{3,160})", re.IGNORECASE)
_BRACKETS = re.compile(r"\(([^()]{3,120})\)")
_EITHER = re.compile(r",\s*|\s+or\s+|\s*/\s*")
_EXAMPLE = re.compile(r"(?:for example|for instance|e\.g\.|such as)((?:[,\s]*(?:or\s+)?[\"“][^\"”]{1,60}[\"”])+)")
_QUOTED = re.compile(r"[\"“]([^\"”]{1,60})[\"”]")

_PREFIXES = NEGATIONS | {"anti"}

# Words that name a type, not a thing: a label that shares nothing else is another label.
_TYPE_WORDS = frozenset(stems("date day number name amount rate percent list kind type period time field whole total"))


@dataclass(frozen=True)
class Category:
    """A value that may be answered, and the words that speak for it."""

    value: str
    names: tuple[tuple[str, ...], ...]  # stems of the value and the label
    about: frozenset[str]  # stems of the description


@dataclass(frozen=True)
class Question:
    """One variable as the rules see it."""

    name: str
    type: str
    core: Mapping[str, float]  # stems of name and label
    hints: Mapping[str, float]  # stems of the instructions
    avoided: frozenset[str]  # stems of what the instructions say is not meant
    aliases: tuple[tuple[str, ...], ...]  # names that a label in a document may have, as stems
    other_names: tuple[tuple[str, ...], ...]  # those of them that the instructions give
    negative: bool  # the name itself denies something: "non-compete"
    unit: str | None
    categories: tuple[Category, ...]
    examples: tuple[str, ...]
    max_values: int

    @property
    def weights(self) -> dict[str, float]:
        """All words with their weights."""
        return {**self.hints, **self.core}


def read_question(variable: Mapping[str, Any]) -> Question:
    """The question in a variable's prompt."""
    name, label = _text(variable.get("variable")), _text(variable.get("label"))
    title = f"{name} {label}".replace("_", " ").casefold()
    instructions, kind = _text(variable.get("instructions")), _text(variable.get("type")) or "text"
    wanted, avoided = _wanted(instructions, kind)
    core = _core(name.replace("_", " "), label, kind)
    hints = {root: 0.35 for text in wanted for root in _content(text) if root not in core}
    core = core if core else dict.fromkeys(hints, 0.6)
    names = [tuple(stems(text)) for text in (label, name.replace("_", " "))]
    others = [tuple(stems(text)) for text in _other_names(wanted)]
    return Question(
        name=name,
        type=kind,
        core=core,
        hints=hints,
        avoided=frozenset(avoided) - set(core) - set(hints),
        aliases=tuple(dict.fromkeys(alias for alias in names + others if alias)),
        other_names=tuple(dict.fromkeys(alias for alias in others if alias)),
        negative=any(word in _PREFIXES for word in WORD.findall(title)),
        unit=_text(variable.get("unit")) or None,
        categories=tuple(_categories(variable)),
        examples=(*_listed(variable.get("examples")), *_quoted_examples(instructions)),
        max_values=value if isinstance(value := variable.get("max_values"), int) and value > 0 else 1,
    )


def label_match(question: Question, label: Iterable[str], strict: bool = False) -> float:
    """How well a label in the document fits a name of the variable, between 0 and 1.

    Words of the instructions in it speak for it, unless it must be `strict`ly the name.
    """
    found = set(label)
    if not found or not question.aliases:
        return 0.0
    known = {} if strict else question.hints
    best = max(_overlap(set(alias), found, known) for alias in question.aliases)
    return best * (0.6 if found & question.avoided else 1.0)


def _overlap(alias: set[str], label: set[str], hints: Mapping[str, float]) -> float:
    shared = _weight(alias & label)
    known = shared + 0.5 * _weight((label - alias) & set(hints))
    recall, precision = shared / _weight(alias), known / _weight(label)
    return 2 * recall * precision / (recall + precision) if shared else 0.0


def _weight(roots: set[str]) -> float:
    return sum(0.4 if root in _TYPE_WORDS else 1.0 for root in roots)


def _core(name: str, label: str, kind: str) -> dict[str, float]:
    named = dict.fromkeys(_content(name), 1.0)
    labelled = {root: 1.0 if not named else 0.8 for root in _content(label) if root not in named}
    whole = {**labelled, **named}
    if kind == "date" and len(whole) > 1:
        whole.pop(stem("date"), None)  # what is read is a date anyway
    return {root: weight * (0.4 if root in _TYPE_WORDS and len(whole) > 1 else 1.0) for root, weight in whole.items()}


def _content(text: str) -> list[str]:
    words = (word for word in WORD.findall(text) if not is_asking(word) and word.casefold() not in _PREFIXES)
    return [root for word in words if (root := stem(word))]


def _wanted(instructions: str, kind: str) -> tuple[list[str], set[str]]:
    """The clauses that say what is meant, and the words of those that say what is not.

    What a text is to be given "without" is not meant; in a question, "without" belongs to what is asked.
    """
    turns = (_TURN,) if kind == "boolean" else (_TURN, _LEAVING_OUT)
    wanted: list[str] = []
    avoided: set[str] = set()
    for clause in _CLAUSE.split(instructions):
        parts = [clause]
        for turn in turns:
            parts = [piece for part in parts for piece in turn.split(part)]
        for part in parts:
            if _DENIES.match(part.strip()):
                avoided.update(_content(part))
            elif not _NO_ANSWER.match(part.strip()):
                wanted.append(part)
    return wanted, avoided


def _other_names(wanted: list[str]) -> list[str]:
    """Names given in passing: "(project leader, grant holder)", "may be called award number or reference"."""
    lists = [match for text in wanted for form in (_BRACKETS, _CALLED) for match in form.findall(text)]
    parts = [part.strip(" .;") for listed in lists for part in _EITHER.split(listed)]
    return [part for part in parts if 0 < len(WORD.findall(part)) <= 4 and any(c.isalpha() for c in part)]


def _quoted_examples(instructions: str) -> list[str]:
    return [value for listed in _EXAMPLE.findall(instructions) for value in _QUOTED.findall(listed)]


def _categories(variable: Mapping[str, Any]) -> list[Category]:
    listed = variable.get("categories")
    found = [entry for entry in listed if isinstance(entry, Mapping)] if isinstance(listed, list) else []
    categories = [_category(_text(e.get("value")), _text(e.get("label")), _text(e.get("description"))) for e in found]
    return categories or [_category(value, "", "") for value in _listed(variable.get("allowed"))]


def _category(value: str, label: str, description: str) -> Category:
    names = (tuple(stems(text.replace("_", " "))) for text in (label, value))
    return Category(value, tuple(dict.fromkeys(name for name in names if name)), frozenset(_content(description)))


def _listed(value: Any) -> list[str]:
    return [_text(part) for part in value if _text(part)] if isinstance(value, list | tuple) else []


def _text(value: Any) -> str:
    return str(value).strip() if isinstance(value, str | int | float) else ""
