"""Which rules read which type of variable."""

from collections.abc import Callable

from winnow.baseline.categories import read_category
from winnow.baseline.passages import Index
from winnow.baseline.phrases import read_text
from winnow.baseline.question import Question
from winnow.baseline.reading import Reading
from winnow.baseline.typed import read_boolean, read_date, read_number

_READERS: dict[str, Callable[[Index, Question], Reading]] = {
    "text": read_text,
    "number": read_number,
    "date": read_date,
    "boolean": read_boolean,
    "category": read_category,
}


def read(index: Index, question: Question) -> Reading:
    """What a text says about a variable, by the rules for its type."""
    return _READERS.get(question.type, read_text)(index, question)
