"""How far a dataset agrees with gold values: per variable and overall, by each type's own idea of equality.

Also here, because a measure must look at what the dataset shows: which values of a cell count, and their text.
"""

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from winnow.codebook import Codebook, Variable, name_key
from winnow.exceptions import DefinitionError
from winnow.extractions import DatasetCell, Extraction, Value

Gold = Mapping[tuple[str, ...], tuple[str, ...]]
"""(document, variable), or (document, variable, entity's name) -> the right values as text.

An empty tuple, or "": the document does not state it.
"""

SEPARATOR = "; "
"""What joins several values in one cell of a table."""

_Key = str | float | bool


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Cells by their agreement with gold."""

    correct: int = 0
    wrong: int = 0  # both have a value, and they differ
    missed: int = 0  # gold has a value, the dataset has none
    invented: int = 0  # gold has none, the dataset has a value
    correct_empty: int = 0  # neither has one

    @property
    def n(self) -> int:
        """All cells compared."""
        return self.correct + self.wrong + self.missed + self.invented + self.correct_empty

    @property
    def accuracy(self) -> float | None:
        """The share of cells that are as they should be, with or without a value; None where n is 0."""
        return (self.correct + self.correct_empty) / self.n if self.n else None


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """The outcome: a tally per variable that has gold, in the codebook's order, and their sum."""

    variables: Mapping[str, Tally]
    overall: Tally
    not_compared: int  # gold values whose cell was never asked, or failed where gold is empty


@dataclass(frozen=True, kw_only=True)
class EntityAgreement:
    """Which entities of the gold table the dataset has, matched by document and name."""

    matched: int
    missed: int  # in gold alone
    invented: int  # in the dataset alone

    @property
    def recall(self) -> float | None:
        """The share of gold's entities that were found; None where gold has none."""
        wanted = self.matched + self.missed
        return self.matched / wanted if wanted else None

    @property
    def precision(self) -> float | None:
        """The share of the entities found that gold has; None where none was found."""
        found = self.matched + self.invented
        return self.matched / found if found else None


def entities_of(cells: Iterable[DatasetCell]) -> set[tuple[str, str]]:
    """(document, name) of every entity in the dataset."""
    return {(cell.document, cell.entity_name or "") for cell in cells if cell.entity is not None}


def entity_agreement(found: set[tuple[str, str]], gold: set[tuple[str, str]]) -> EntityAgreement:
    """Compare entities, as (document, name), in any spelling of the name that `name_key` takes as the same."""
    have, wanted = ({(_document_key(document), name_key(name)) for document, name in side} for side in (found, gold))
    return EntityAgreement(matched=len(have & wanted), missed=len(wanted - have), invented=len(have - wanted))


def shown_values(variable: Variable, extraction: Extraction | None) -> tuple[Value, ...]:
    """The values of a cell as the dataset shows them."""
    accepted = extraction.accepted if extraction else ()
    return accepted if variable.takes_several else accepted[:1]


def value_text(value: Value) -> str:
    """A value as text: 5 and not 5.0, true and not True."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    return str(int(value)) if abs(value) < 2**53 and value == int(value) else repr(value)


def compare(cells: Iterable[DatasetCell], codebook: Codebook, gold: Gold) -> Agreement:
    """Compare the dataset with gold. Documents match by name, variables and entities in any spelling of their name.

    A cell that failed, or was skipped because another failed, gets no credit for being empty: it is missed where gold
    has a value, else not compared.
    A cell that was not asked counts as empty where there is a reason (`depends_on`), else it is not compared.

    Raises:
        DefinitionError: gold names an unknown variable, cannot be read as its type, or means two rows at once.
    """
    answered = _by_name(cells)
    counts: dict[str, dict[str, int]] = {}
    not_compared = 0
    for (document, name, *entity), texts in gold.items():
        variable = codebook.variable(name)
        if variable is None:
            raise DefinitionError(f"The gold values name the variable {name!r}, which the codebook does not have.")
        expected = _gold_keys(variable, texts, document)
        cell = _only_cell(answered.get(_row_key(document, variable.name, *entity), {}), document)
        verdict = _verdict(variable, cell, expected)
        mine = counts.setdefault(variable.name, {})
        if verdict is None:
            not_compared += 1
        else:
            mine[verdict] = mine.get(verdict, 0) + 1
    tallies = {v.name: Tally(**counts[v.name]) for v in codebook.variables if v.name in counts}
    return Agreement(variables=tallies, overall=_sum(tallies.values()), not_compared=not_compared)


def _sum(tallies: Iterable[Tally]) -> Tally:
    total: dict[str, int] = {}
    for tally in tallies:
        for verdict, count in vars(tally).items():
            total[verdict] = total.get(verdict, 0) + count
    return Tally(**total)


def _document_key(name: str) -> str:
    return unicodedata.normalize("NFC", name)  # macOS gives file names decomposed


_Cells = dict[tuple[str, str | None], DatasetCell]  # (document's hash, entity's id) -> cell


def _row_key(document: str, variable: str, entity: str | None = None) -> tuple[str, str, str]:
    return _document_key(document), name_key(variable), name_key(entity or "")


def _by_name(cells: Iterable[DatasetCell]) -> dict[tuple[str, str, str], _Cells]:
    answered: dict[tuple[str, str, str], _Cells] = {}
    for cell in cells:
        key = _row_key(cell.document, cell.variable, cell.entity_name)
        answered.setdefault(key, {})[cell.document_hash, cell.entity] = cell
    return answered


def _only_cell(same_name: _Cells, document: str) -> DatasetCell | None:
    if len({document_hash for document_hash, _ in same_name}) > 1:
        raise DefinitionError(f"Two documents are called {document!r}; gold values cannot tell them apart. Rename one.")
    if len(same_name) > 1:
        name = next(iter(same_name.values())).entity_name
        raise DefinitionError(f"Two rows of {document!r} are called {name!r}; gold values cannot tell them apart.")
    return next(iter(same_name.values()), None)


def _verdict(variable: Variable, cell: DatasetCell | None, expected: Sequence[_Key]) -> str | None:
    if cell is None or (cell.status == "not_asked" and cell.reason is None):
        return None
    actual = _keys(variable, [value_text(value) for value in shown_values(variable, cell.extraction)])
    if not expected:
        if actual:
            return "invented"
        return None if cell.status in ("failed", "skipped") else "correct_empty"
    if not actual:
        return "missed"
    return "correct" if _same(actual, expected) else "wrong"


def _gold_keys(variable: Variable, texts: Iterable[str], document: str) -> list[_Key]:
    # One value may hold "; ", and only the variable knows that it is one.
    stated = [text.strip() for text in texts if text.strip()]
    keys = _keys(variable, stated if variable.takes_several or not stated else [SEPARATOR.join(stated)])
    wanted = {"number": float, "boolean": bool}.get(variable.type, object)
    if not all(isinstance(key, wanted) for key in keys):
        raise DefinitionError(f"The gold value of {document}, {variable.name} is not a {variable.type}; correct it.")
    return keys


def _keys(variable: Variable, texts: Sequence[str]) -> list[_Key]:
    """The values in the form in which equal ones are equal, without repeats and in order."""
    if variable.takes_several:
        texts = [part for text in texts for part in text.split(SEPARATOR) if part.strip()]
    return sorted({_key(variable, text) for text in texts}, key=lambda key: (isinstance(key, str), key))


def _key(variable: Variable, text: str) -> _Key:
    match variable.type:
        case "number":
            return _number(text)
        case "boolean":
            return _BOOLEANS.get(text.strip().casefold(), text)
        case "category":
            return name_key(text)
        case "date":
            return text.strip()
        case _:
            return _words(text)


_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _number(text: str) -> float | str:
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


def _words(text: str) -> str:
    """Text without what does not matter: case, forms of characters, punctuation, white space."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = "".join(" " if unicodedata.category(character)[0] == "P" else character for character in folded)
    return re.sub(r"\s+", " ", kept.replace("\u00ad", "")).strip() or folded.strip()


def _same(actual: Sequence[_Key], expected: Sequence[_Key]) -> bool:
    return len(actual) == len(expected) and all(map(_equal, actual, expected))


def _equal(one: _Key, other: _Key) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9)
    return one == other
