"""What an answer must pass before it is stored: its values are read, held against the codebook, and proved.

In this order: status, type, validation, evidence, several values, confidence. What does not pass is kept and flagged.
Nothing is filled in but what the codebook gives: its default, and only where the document states nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from winnow.answers import Answer, AnswerValue
from winnow.codebook import Variable
from winnow.coercion import CoercionError, broken_rule, coerce
from winnow.extractions import Evidence, Extraction, Flag, FoundValue, Value
from winnow.grounding import Grounder

JOINT = "; "
"""What stands between the values that a text variable joins."""


@dataclass(frozen=True)
class _Checked:
    found: FoundValue
    flags: frozenset[Flag]

    @property
    def key(self) -> tuple[Value | None, str]:
        """What makes two values the same: what they were read as, else how they were written."""
        return self.found.value, self.found.raw if self.found.value is None else ""


def check_answer(answer: Answer, variable: Variable, grounder: Grounder) -> Extraction:
    """The extraction that an answer earns."""
    flags: set[Flag] = set()
    values: Sequence[_Checked] = ()
    if answer.status in ("found", "unclear"):  # values beside another status contradict it, and are dropped
        values = _without_repeats(_checked(given, variable, grounder) for given in answer.values)
        if _readable(values) > variable.max_values:
            flags.add("several_values")
        values = _settled(values, variable)
        flags.update(*(checked.flags for checked in values))
    if answer.status == "found" and not answer.values:
        flags.add("no_value")
    if answer.status == "unclear":
        flags.add("unclear")
    if answer.confidence < variable.confidence_threshold:
        flags.add("low_confidence")
    return Extraction(
        status=answer.status,
        values=tuple(checked.found for checked in values),
        confidence=answer.confidence,
        flags=tuple(flag for flag in get_args(Flag) if flag in flags),
        default=variable.default if answer.status == "not_stated" else None,
    )


def _checked(given: AnswerValue, variable: Variable, grounder: Grounder) -> _Checked:
    flags: set[Flag] = set()
    value, problem = None, None
    try:
        value = coerce(given.value, variable)
        problem = broken_rule(value, variable)
    except CoercionError as error:
        flags.add("not_readable")
        problem = str(error)
    else:
        if problem:
            flags.add("invalid")
    evidence = grounder.locate(given.evidence) if given.evidence.strip() else None
    flags |= _evidence_flags(evidence, value)
    accepted = value if problem is None else None
    return _Checked(FoundValue(value=accepted, raw=given.value, evidence=evidence, problem=problem), frozenset(flags))


def _evidence_flags(evidence: Evidence | None, value: Value | None) -> set[Flag]:
    if evidence is None:
        return set() if value is False else {"no_evidence"}  # what is not in a document has no words there
    return {"evidence_absent"} if evidence.mark == "absent" else set()


def _without_repeats(values: Iterable[_Checked]) -> list[_Checked]:
    """Each value once, in the form that passed best."""
    best: dict[tuple[Value | None, str], _Checked] = {}
    for checked in values:
        known = best.setdefault(checked.key, checked)
        if len(checked.flags) < len(known.flags):
            best[checked.key] = checked
    return list(best.values())


def _readable(values: Iterable[_Checked]) -> int:
    return sum(checked.found.value is not None for checked in values)


def _settled(values: Sequence[_Checked], variable: Variable) -> Sequence[_Checked]:
    """The values that the variable keeps; those that could not be read stay for a person to see."""
    rule = variable.if_multiple_values
    readable = [checked for checked in values if checked.found.value is not None]
    if rule == "join" and variable.type == "text" and len(readable) > 1:
        return [_joined(readable), *(checked for checked in values if checked.found.value is None)]
    if rule in ("all", "join"):  # only text can be joined without losing its type
        return values
    # One confidence covers the whole answer, so the most confident value is the one named first.
    kept = readable[: variable.max_values]
    return [checked for checked in values if checked in kept or checked.found.value is None]


def _joined(values: Sequence[_Checked]) -> _Checked:
    """One text of several, with the evidence of the first."""
    found = replace(
        values[0].found,
        value=JOINT.join(str(checked.found.value) for checked in values),
        raw=JOINT.join(checked.found.raw for checked in values),
    )
    return _Checked(found, frozenset().union(*(checked.flags for checked in values)))
