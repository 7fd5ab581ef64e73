"""The embedded model: answers by rules, from the words of the document and of the variables alone.

It knows no corpus. It looks for the passages that share words with a variable and reads the variable's type from
them, so that the whole pipeline runs without a key, a network or weights. It is the floor that a language model has
to beat, and says so by its confidence.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from winnow.answers import Answer, AnswerStatus, Envelope
from winnow.baseline.around import read_around
from winnow.baseline.entities import Unit, list_entities, read_count, read_unit
from winnow.baseline.passages import Index, index_of
from winnow.baseline.question import Question, read_question
from winnow.baseline.readers import read
from winnow.baseline.reading import Reading

__all__ = ["VERSION", "answer_question"]

VERSION = "2"
"""Changes with every rule: replies of another version are other replies."""

_LISTING = "entities"  # the type of a variable that asks for the entities of a text


def answer_question(
    document: str, variables: Sequence[Mapping[str, Any]], entity: Mapping[str, Any] | None = None
) -> Envelope:
    """An answer for every variable, with evidence that is a passage of the document.

    Args:
        document: the text of a document, or of a part of one.
        variables: the decoded objects of `winnow.prompts.variable_prompt` or `unit_prompts`.
        entity: what the variables are asked about, if not the document: its `name`, and the `evidence` that shows it.
    """
    index = index_of(document)
    if entity is not None:
        questions = [read_question(variable) for variable in variables]
        about = read_around(index, questions, entity)
        return Envelope(answers=tuple(map(_answer, questions, about)))
    units = [read_unit(variable) for variable in variables if variable.get("type") == _LISTING]
    return Envelope(answers=tuple(_of_document(index, variable, units) for variable in variables))


def _of_document(index: Index, variable: Mapping[str, Any], units: Sequence[Unit]) -> Answer:
    question = read_question(variable)
    if question.type == _LISTING:
        return _answer(question, list_entities(index, read_unit(variable)))
    counted = next((unit for unit in units if question.name == f"number of {unit.name}"), None)
    return _answer(question, read_count(index, counted, question) if counted else read(index, question))


def _answer(question: Question, reading: Reading) -> Answer:
    status: AnswerStatus = "found" if reading.values else "not_stated"
    return Answer(variable=question.name, status=status, values=reading.values, confidence=reading.confidence)
