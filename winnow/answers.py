"""The one response envelope for all variables, and how a reply is read into it.

A reply is taken as it is, or unwrapped where there is only one way to read it (a fenced block, prose around one JSON
object). Anything else is an `OutputError`; nothing is guessed.
"""

import json
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from winnow.codebook import name_key
from winnow.documents import clean_text
from winnow.exceptions import OutputError

AnswerStatus = Literal["found", "not_stated", "not_applicable", "unclear"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


# A reply may hold what no store takes, such as an escaped NUL.
_CleanText = Annotated[str, AfterValidator(clean_text)]


class AnswerValue(_Part):
    """One value as the model wrote it, with the passage that proves it."""

    value: _CleanText
    evidence: _CleanText


class Answer(_Part):
    """What a model says about one variable."""

    variable: str
    status: AnswerStatus
    values: tuple[AnswerValue, ...] = Field(strict=False)
    confidence: float = Field(ge=0, le=1, allow_inf_nan=False, strict=False)

    @field_validator("confidence", mode="before")
    @classmethod
    def _confidence_is_no_boolean(cls, confidence: Any) -> Any:
        return None if isinstance(confidence, bool) else confidence


class Envelope(_Part):
    """A whole reply."""

    answers: tuple[Answer, ...] = Field(strict=False)


ENVELOPE_SCHEMA: dict[str, Any] = {
    "title": "answers",
    "description": "One answer for every variable asked.",
    "type": "object",
    "properties": {
        "answers": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "variable": {"type": "string"},
                    "status": {
                        "type": "string",
                        "enum": ["found", "not_stated", "not_applicable", "unclear"],
                    },
                    "values": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {"value": {"type": "string"}, "evidence": {"type": "string"}},
                            "required": ["value", "evidence"],
                            "additionalProperties": False,
                        },
                    },
                    "confidence": {"type": "number"},
                },
                "required": ["variable", "status", "values", "confidence"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["answers"],
    "additionalProperties": False,
}
"""The JSON Schema of `Envelope` in the subset that providers' strict modes take: the same for every request."""

# Its end stands on a line of its own: inside the JSON, a line break is written \\n.
_FENCE = re.compile(r"^```\w*[ \t]*\n(.*?)\n[ \t]*```[ \t]*$", re.DOTALL | re.MULTILINE)


def read_reply(text: str) -> Envelope:
    """The envelope in a reply.

    Raises:
        OutputError: `empty_reply` or `malformed`. The message never quotes the reply.
    """
    if not text.strip():
        raise OutputError("empty_reply", "the model's reply is empty")
    data = _load(_only_json(text))
    try:
        return Envelope.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        # The name of a key that was not asked for is the reply's own text.
        known = first["loc"][:-1] if first["type"] in ("extra_forbidden", "invalid_key") else first["loc"]
        where = ".".join(str(part) for part in known) or "the reply"
        raise OutputError("malformed", f"the reply has another form than asked: {where}: {first['msg']}") from None


def answer_for(envelope: Envelope, variable: str) -> Answer:
    """The one answer for a variable.

    Raises:
        OutputError: `missing_answer` where there is none, `malformed` where there are two that differ.
    """
    given = [answer for answer in envelope.answers if name_key(answer.variable) == name_key(variable)]
    if not given:
        raise OutputError("missing_answer", f"the reply has no answer for {variable}")
    if any(other != given[0] for other in given[1:]):
        raise OutputError("malformed", f"the reply has answers for {variable} that contradict each other")
    return given[0]


def _only_json(text: str) -> str:
    fenced = _FENCE.findall(text.strip())
    if len(fenced) == 1:
        return str(fenced[0])
    first, last = text.find("{"), text.rfind("}")
    if first < 0 or last < first or fenced:
        raise OutputError("malformed", "the reply holds no JSON object, or more than one")
    return text[first : last + 1]


def _load(text: str) -> Any:
    def no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        if len(set(keys)) != len(keys):
            raise ValueError("a key stands twice")
        return dict(pairs)

    def no_constants(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")

    try:
        return json.loads(text, object_pairs_hook=no_repeats, parse_constant=no_constants)
    except (ValueError, RecursionError) as error:
        said = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise OutputError("malformed", f"the reply is not JSON: {said}") from None
