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

LONGEST_NAME = 1000  # characters; names are compared, and text of hostile marks takes seconds to normalise


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

    variable: str = Field(max_length=LONGEST_NAME)
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


def read_partial(text: str, variable: str) -> tuple[AnswerValue, ...]:
    """The whole values of a variable's list in a reply that was cut short, in their order.

    For lists that are asked for part by part, so that what was cut is asked again. Never for a final answer.
    """
    start = _values_start(text, variable)
    if start is None:
        return ()
    found: list[AnswerValue] = []
    while start < len(text):
        try:
            data, start = _DECODER.raw_decode(text, _skip(text, start, " \t\r\n,"))
            found.append(AnswerValue.model_validate(data))
        except (ValueError, RecursionError):
            break
    return tuple(found)


def _values_start(text: str, variable: str) -> int | None:
    """Where the values of a variable's answer begin, just behind their bracket."""
    for listed in _LISTED.finditer(text):
        try:
            name = json.loads(listed["name"])
        except ValueError:
            continue
        if len(name) <= LONGEST_NAME and name_key(name) == name_key(variable):
            return listed.end()
    return None


_STRING = r'"(?:[^"\\]|\\.)*"'
# Only plain fields may stand between a name and its values: a bracket further on may be another answer's.
_LISTED = re.compile(
    rf'"variable"\s*:\s*(?P<name>{_STRING})(?:\s*,\s*{_STRING}\s*:\s*(?:{_STRING}|[-+.\w]+)){{0,3}}'
    r'\s*,\s*"values"\s*:\s*\['
)


def _skip(text: str, start: int, characters: str) -> int:
    while start < len(text) and text[start] in characters:
        start += 1
    return start


def _only_json(text: str) -> str:
    fenced = _FENCE.findall(text.strip())
    if len(fenced) == 1:
        return str(fenced[0])
    first, last = text.find("{"), text.rfind("}")
    if first < 0 or fenced or (last < first and not _is_cut(text[first:])):
        raise OutputError("malformed", "the reply holds no JSON object, or more than one")
    if _is_cut(text[first:]):
        raise OutputError("truncated", "the reply ends in the middle of its JSON")
    return text[first : last + 1]


def _is_cut(text: str) -> bool:
    """Whether a JSON object ends before it is closed: some servers cut a reply short and do not say so."""
    try:
        json.JSONDecoder().raw_decode(text)
    except json.JSONDecodeError as error:
        return error.msg.startswith("Unterminated string") or bool(_FRAGMENT.fullmatch(text, error.pos))
    except (ValueError, RecursionError):  # more digits, or more levels, than Python takes
        return False
    return False


# What is left of a number, a literal or an escaped character whose end is missing.
_FRAGMENT = re.compile(r"(?:-|\.|[eE][-+]?|t|tr|tru|f|fa|fal|fals|n|nu|nul|u[0-9a-fA-F]{0,4})?\s*")


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _no_constants(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_no_repeats, parse_constant=_no_constants)


def _load(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        said = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise OutputError("malformed", f"the reply is not JSON: {said}") from None
