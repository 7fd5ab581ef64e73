"""The embedded model: answers by rules, from the words of the document and of the variables alone.

It knows no corpus. It looks for the passages that share words with a variable and reads the variable's type from
them, so that the whole pipeline runs without a key, a network or weights. It is the floor that a language model has
to beat, and says so by its confidence.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from winnow.answers import Answer, AnswerStatus, Envelope
from winnow.baseline.categories import read_category
from winnow.baseline.passages import Index, index_of
from winnow.baseline.phrases import read_text
from winnow.baseline.question import Question, read_question
from winnow.baseline.reading import Reading
from winnow.baseline.typed import read_boolean, read_date, read_number

__all__ = ["VERSION", "answer_question"]

VERSION = "1"
"""Changes with every rule: replies of another version are other replies."""

_READERS: dict[str, Callable[[Index, Question], Reading]] = {
    "text": read_text,
    "number": read_number,
    "date": read_date,
    "boolean": read_boolean,
    "category": read_category,
}


def answer_question(document: str, variables: Sequence[Mapping[str, Any]]) -> Envelope:
    """An answer for every variable, with evidence that is a passage of the document.

    Args:
        document: the document's text.
        variables: the decoded objects of `winnow.prompts.variable_prompt`.
    """
    index = index_of(document)
    return Envelope(answers=tuple(_answer(index, read_question(variable)) for variable in variables))


def _answer(index: Index, question: Question) -> Answer:
    reading = _READERS.get(question.type, read_text)(index, question)
    status: AnswerStatus = "found" if reading.values else "not_stated"
    return Answer(variable=question.name, status=status, values=reading.values, confidence=reading.confidence)
