"""The content of a reply of the test model service (see openai_server.py), right or spoiled by a fault."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import orjson

from tests.openai_prompts import TOKEN, Prompt
from tests.openai_settings import Json
from tests.openai_truth import default_answer

INVENTED = "This sentence was invented by the model."
Answering = Callable[[Json], Json]


def invent(answer: Json, variable: Json, document: str) -> Json:
    """The answer with evidence that the document does not hold, and with a value if it had none."""
    evidence = INVENTED
    while evidence in document:
        evidence += " " + INVENTED
    sample = {"number": "7", "date": "2001-02-03"}.get(variable.get("type", ""))
    values = answer["values"] or default_answer(sample or "Invented.", variable)["values"]
    values = [{"value": value["value"], "evidence": evidence} for value in values]
    return {**answer, "status": "found", "values": values}


def dump(value: Json) -> str:
    return orjson.dumps(value).decode()


def spoil(answer: Json, fault: str | None, variable: Json, document: str) -> str:
    """One answer as JSON, or as what a fault makes of it."""
    values = answer["values"]
    if fault == "invented":
        answer = invent(answer, variable, document)
    elif fault == "wrong_shape":
        answer = {"name": variable["variable"], "result": [value["value"] for value in values]}
    elif fault == "extra_key":
        answer = {**answer, "explanation": "It stands in the document."}
    elif fault == "null_values":
        answer = {**answer, "values": None}
    elif fault == "scalar_for_list":
        answer = {**answer, "values": values[0]["value"] if values else ""}
    elif fault == "duplicate_keys":
        return '{"status":"unclear","values":[],' + dump(answer)[1:]
    elif fault in ("nan_confidence", "huge_number"):
        shown = "NaN" if fault == "nan_confidence" else "1e400"
        rest = {key: value for key, value in answer.items() if key != "confidence"}
        return f'{dump(rest)[:-1]},"confidence":{shown}}}'
    return dump(answer)


def write_content(prompt: Prompt | None, answering: Answering, fault: str | None, cells: dict[str, str]) -> str:
    """The content of the reply's message; cells are the faults of single variables."""
    if fault == "malformed":
        return "Certainly! Here is what I found: {governing law: see the document}"
    if prompt is None:
        return "OK."
    answers = []
    for number, variable in enumerate(prompt.variables):
        spoiled = fault or cells.get(variable["variable"])
        if spoiled == "missing_variable" and (fault is None or number == 0):
            continue
        answers.append(spoil(answering(variable), spoiled, variable, prompt.document))
    text = f'{{"{"results" if fault == "wrong_shape" else "answers"}":[{",".join(answers)}]}}'
    if fault == "fenced":
        return f"```json\n{text}\n```"
    if fault == "prose":
        return f"Here is what the document says:\n\n{text}\n\nLet me know if you need more."
    return text


def cut_content(text: str, fault: str | None, limit: int | None) -> tuple[str, str]:
    """What of the content is sent, and the finish_reason that goes with it."""
    if fault in ("truncated", "length_json"):
        return text[: len(text) // 2], "length" if fault == "truncated" else "stop"
    if fault in ("empty", "content_filter"):
        return "", "stop" if fault == "empty" else "content_filter"
    if fault == "reasoning_exhausted":
        return "", "length"
    if limit is not None:
        ends = [match.end() for match in islice(TOKEN.finditer(text), limit + 1)]
        if len(ends) > limit:
            return text[: ends[limit - 1]], "length"
    return text, "stop"
