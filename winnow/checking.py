"""What answers must pass before they are stored: their values are read, held against the codebook, proved and merged.

A document is asked in one piece or in several parts, and so a cell has one answer or several. In this order: status,
type, validation, evidence, the same value from several parts, several values, confidence. What does not pass is kept
and flagged. Nothing is filled in but what the codebook gives: its default, and only where nothing is stated.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from winnow.answers import Answer, AnswerStatus, AnswerValue
from winnow.codebook import Variable, name_key
from winnow.coercion import CoercionError, Conventions, broken_rule, coerce
from winnow.confidence import combine, grounding, validation
from winnow.conventions import LONGEST
from winnow.exceptions import OutputError, RejectedCallError
from winnow.extractions import Evidence, Extraction, Flag, FoundValue, Signals, Unread, Value
from winnow.grounding import Grounder

JOINT = "; "
"""What stands between the values that a text variable joins."""

Span = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Part:
    """What came of asking about a stretch of the document: an answer, or why there is none."""

    span: Span
    answer: Answer | None = None
    error: OutputError | RejectedCallError | None = None
    probability: float | None = None  # of the reply's tokens
    part: tuple[int, int] | None = None  # which of how many parts of the document it is


@dataclass(frozen=True)
class _Checked:
    found: FoundValue
    flags: frozenset[Flag]
    part: int

    @property
    def key(self) -> tuple[Value | None, str]:
        """What makes two values the same: what they were read as, else how they were written. Texts as names are."""
        value, raw = self.found.value, self.found.raw
        if isinstance(value, str) and len(value) <= LONGEST:
            value = name_key(value)
        return value, raw if value is None else ""


def check_answers(
    parts: Sequence[Part], variable: Variable, grounder: Grounder, conventions: Conventions
) -> Extraction:
    """The extraction that the answers about a document earn together.

    Raises:
        OutputError, RejectedCallError: no part has an answer; the first part's error.
    """
    answered = [part for part in parts if part.answer is not None]
    errors = [part.error for part in parts if part.error is not None]
    if not answered:
        raise errors[0]
    status = _status([part.answer.status for part in answered if part.answer])
    telling = [part for part in answered if part.answer and part.answer.status == status]
    flags: set[Flag] = {"incomplete"} if errors else set()
    values: Sequence[_Checked] = ()
    if status in ("found", "unclear"):  # values beside another status contradict it, and are dropped
        every = [
            checked
            for number, part in enumerate(telling)
            for checked in _values(part, number, variable, grounder, conventions)
        ]
        flags.update(_contradictions(every, variable))
        values = _settled(_merged(every), variable)
        flags.update(*(checked.flags for checked in values))
        if status == "unclear":
            flags.add("unclear")
        elif not every:
            flags.add("no_value")
    extraction = Extraction(
        status=status,
        values=tuple(checked.found for checked in values),
        default=variable.default if status == "not_stated" and not errors else None,
        unread=tuple(
            Unread(start=part.span[0], end=part.span[1], reason=part.error.reason) for part in parts if part.error
        ),
    )
    return weighed(extraction, variable, flags, said=_said(values, telling), tokens=_tokens(telling))


def weighed(
    extraction: Extraction, variable: Variable, flags: Iterable[Flag], *, said: float | None, tokens: float | None
) -> Extraction:
    """The extraction with these flags, its signals and the confidence that follows from them."""
    raised = set(flags)
    signals = Signals(
        said=said, grounding=grounding(extraction.values, raised), validation=validation(raised), tokens=tokens
    )
    confidence = combine(signals)
    if confidence < variable.confidence_threshold:
        raised.add("low_confidence")
    ordered = tuple(flag for flag in get_args(Flag) if flag in raised)
    return replace(extraction, confidence=confidence, signals=signals, flags=ordered)


def _status(given: Sequence[AnswerStatus]) -> AnswerStatus:
    """A part that states something outweighs those that state nothing."""
    for status in ("found", "unclear"):
        if status in given:
            return status
    return "not_applicable" if all(status == "not_applicable" for status in given) else "not_stated"


def _values(
    part: Part, number: int, variable: Variable, grounder: Grounder, conventions: Conventions
) -> list[_Checked]:
    assert part.answer is not None  # noqa: S101 # only parts with an answer come here
    checked: list[_Checked] = []
    near: list[Span] = []
    for given in part.answer.values:
        evidence = _located(given, grounder, part.span, near)
        near += [(place.start, place.end) for proof in evidence for place in proof.places]
        checked.append(_check(given, evidence, part.answer.confidence, number, variable, conventions))
    return checked


def _located(given: AnswerValue, grounder: Grounder, within: Span, near: Sequence[Span]) -> tuple[Evidence, ...]:
    return (grounder.locate(given.evidence, within=within, near=near),) if given.evidence.strip() else ()


def _check(
    given: AnswerValue,
    evidence: tuple[Evidence, ...],
    confidence: float,
    part: int,
    variable: Variable,
    conventions: Conventions,
) -> _Checked:
    value, problem, flags = _read(given.value, variable, conventions)
    unproved = _evidence_flags(evidence, value)
    if unproved and variable.without_evidence == "drop" and problem is None:
        problem = "is dropped, as its evidence is not in the document"
    accepted = value if problem is None else None
    found = FoundValue(value=accepted, raw=given.value, evidence=evidence, problem=problem, confidence=confidence)
    return _Checked(found, frozenset(flags | unproved), part)


def _read(raw: str, variable: Variable, conventions: Conventions) -> tuple[Value | None, str | None, set[Flag]]:
    """The value, what is wrong with it, and the flags for that."""
    try:
        value = coerce(raw, variable, conventions)
    except CoercionError as error:
        return None, str(error), {"not_readable"}
    problem = broken_rule(value, variable)
    return value, problem, {"invalid"} if problem else set()


def _evidence_flags(evidence: Sequence[Evidence], value: Value | None) -> set[Flag]:
    if not evidence:
        return set() if value is False else {"no_evidence"}  # what is not in a document has no words there
    return {"evidence_absent"} if all(proof.mark == "absent" for proof in evidence) else set()


def _merged(values: Iterable[_Checked]) -> list[_Checked]:
    """Each value once, in the form that passed best, with the evidence of every part that gives it."""
    best: dict[tuple[Value | None, str], _Checked] = {}
    for checked in values:
        known = best.get(checked.key)
        best[checked.key] = _together(known, checked) if known else checked
    return list(best.values())


def _together(known: _Checked, other: _Checked) -> _Checked:
    kept = other if len(other.flags) < len(known.flags) else known
    evidence = {_where(proof): proof for proof in (*known.found.evidence, *other.found.evidence)}
    proofs = tuple(sorted(evidence.values(), key=lambda proof: proof.mark == "absent"))
    confidence = max((c for c in (known.found.confidence, other.found.confidence) if c is not None), default=None)
    return replace(kept, found=replace(kept.found, evidence=proofs, confidence=confidence), part=known.part)


def _where(evidence: Evidence) -> tuple[int | None, int | None, str]:
    """What makes two pieces of evidence the same: their place, else their words. Parts overlap."""
    return (evidence.start, evidence.end, "") if evidence.places else (None, None, evidence.quote)


def _contradictions(values: Sequence[_Checked], variable: Variable) -> set[Flag]:
    """Whether there are more values than the variable takes: in one part, or only between parts."""
    read = {checked.key: checked.part for checked in reversed(values) if checked.found.value is not None}
    if len(read) <= variable.max_values:
        return set()
    return {"several_values"} if len(set(read.values())) == 1 or variable.takes_several else {"conflict"}


def _settled(values: Sequence[_Checked], variable: Variable) -> Sequence[_Checked]:
    """The values that the variable keeps; those that could not be read stay for a person to see."""
    rule = variable.if_multiple_values
    readable = [checked for checked in values if checked.found.value is not None]
    unreadable = [checked for checked in values if checked.found.value is None]
    if rule == "join" and variable.type == "text" and len(readable) > 1:
        return [_joined(readable), *unreadable]
    if rule in ("all", "join"):  # only text can be joined without losing its type
        return values
    if rule == "most_confident":
        readable.sort(key=lambda checked: -(checked.found.confidence or 0))  # stable: of equals, the first
    return [*readable[: variable.max_values], *unreadable]


def _joined(values: Sequence[_Checked]) -> _Checked:
    """One text of several, with the evidence of each."""
    found = replace(
        values[0].found,
        value=JOINT.join(str(checked.found.value) for checked in values),
        raw=JOINT.join(checked.found.raw for checked in values),
        evidence=tuple(proof for checked in values for proof in checked.found.evidence),
        confidence=min((c.found.confidence for c in values if c.found.confidence is not None), default=None),
    )
    return _Checked(found, frozenset().union(*(checked.flags for checked in values)), values[0].part)


def _said(values: Sequence[_Checked], telling: Sequence[Part]) -> float | None:
    """The model's own confidence: in the values kept, else in its saying that there are none."""
    kept = [checked.found.confidence for checked in values if checked.found.confidence is not None]
    return min(kept or [part.answer.confidence for part in telling if part.answer], default=None)


def _tokens(telling: Sequence[Part]) -> float | None:
    return min((part.probability for part in telling if part.probability is not None), default=None)
