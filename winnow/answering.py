"""From questions about a document to extractions: asked part by part, checked, mended once, and merged.

Pure but for the `Asker` that the interview holds: what is bought, kept and counted is its business.
"""

from collections.abc import Iterator, KeysView, Mapping, Sequence
from dataclasses import dataclass, replace

from winnow.asking import Asked, Interview
from winnow.checking import Part, check_answers, weighed
from winnow.checks import CompiledCheck, broken
from winnow.chunks import Chunk
from winnow.codebook import Variable, name_key
from winnow.coercion import Conventions
from winnow.conditions import holds
from winnow.exceptions import OutputError, RejectedCallError
from winnow.extractions import Evidence, Extraction, Value
from winnow.prompts import Correction, Known

Outcome = Extraction | OutputError | RejectedCallError
"""What became of a cell: its extraction, or why there is none."""


def answer(
    interview: Interview, chunks: Sequence[Chunk], asked: Sequence[Asked], conventions: Conventions
) -> dict[str, Outcome]:
    """What the document says about each variable, by the variable's name."""
    parts = interview.answers(chunks, asked)
    return {one.variable.name: _settled(interview, parts[one.variable.name], one, conventions) for one in asked}


def _settled(interview: Interview, parts: list[Part], asked: Asked, conventions: Conventions) -> Outcome:
    grounder = interview.source.grounder
    try:
        first = check_answers(parts, asked.variable, grounder, conventions)
        if not _problems(first):
            return first
        mended = [_mended(interview, part, asked, conventions) for part in parts]
        return check_answers(mended, asked.variable, grounder, conventions)
    except (OutputError, RejectedCallError) as error:
        return error


def _mended(interview: Interview, part: Part, asked: Asked, conventions: Conventions) -> Part:
    """The part asked once more where its values cannot be accepted, and as it was where that brings nothing better."""
    if part.answer is None:
        return part
    wrong = _problems(check_answers([part], asked.variable, interview.source.grounder, conventions))
    if not wrong:
        return part
    corrections = [
        Correction(variable=asked.variable.name, answer=raw, problem=problem) for raw, problem in wrong.items()
    ]
    again = interview.again(part, asked, corrections)
    left = _problems(check_answers([again], asked.variable, interview.source.grounder, conventions))
    return again if len(left) < len(wrong) else part


def _problems(extraction: Extraction) -> dict[str, str]:
    """What the model wrote that cannot be accepted for what it says, and why."""
    if not {"not_readable", "invalid"} & set(extraction.flags):
        return {}
    return {found.raw: found.problem for found in extraction.values if found.value is None and found.problem}


@dataclass(frozen=True, kw_only=True)
class Parent:
    """A variable that others depend on, and what was found for it; None where it has no answer."""

    variable: Variable
    extraction: Extraction | None


def not_asked(variable: Variable, parents: Mapping[str, Parent]) -> Extraction | str | None:
    """Why a variable is not asked.

    Args:
        parents: by `name_key`.

    Returns:
        None: ask it. A text: a parent has no answer, so that nothing can be known. An extraction `not_applicable`: a
        condition does not hold.
    """
    for dependency in variable.depends_on:
        parent = parents[name_key(dependency.variable)]
        if parent.extraction is None:
            return f"{parent.variable.name} has no answer"
        if not holds(dependency, parent.variable, parent.extraction):
            said = parent.extraction.confidence  # as sure as what it rests on
            return weighed(Extraction(status="not_applicable"), variable, (), said=said, tokens=None)
    return None


def known_values(variable: Variable, parents: Mapping[str, Parent]) -> tuple[Known, ...]:
    """What was found for the variables that one depends on, as its context."""
    found = []
    for dependency in variable.depends_on:
        parent = parents[name_key(dependency.variable)]
        values = parent.extraction.accepted if parent.extraction else ()
        if values:
            found.append(Known(variable=parent.variable.name, value="; ".join(map(value_text, values))))
    return tuple(dict.fromkeys(found))


def value_text(value: Value) -> str:
    """A value as prompts write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


_Row = dict[str, tuple[Asked, Extraction]]


@dataclass(frozen=True, kw_only=True)
class CheckOfRow:
    """A check of the codebook, with its message for people and models."""

    check: CompiledCheck
    message: str


def check_row(
    interview: Interview,
    chunks: Sequence[Chunk],
    row: Mapping[str, tuple[Asked, Extraction]],
    checks: Sequence[CheckOfRow],
    conventions: Conventions,
) -> dict[str, Extraction]:
    """Hold a row against the codebook's checks, and ask once more for the variables of one that it breaks.

    Args:
        row: by `name_key`, the variables that have an extraction.

    Returns:
        The extractions that changed, by `name_key`: better answers, or the old ones with the flag `check_failed`.
    """
    now = dict(row)
    for check in checks:
        if broken(check.check, _values(now)):
            tried = now | _asked_again(interview, chunks, now, check, conventions)
            if _broken(checks, tried) < _broken(checks, now) and broken(check.check, _values(tried)) is False:
                now = tried
    for check in _broken(checks, now):  # in the end, as what one check brought may have mended another
        now |= {
            key: (asked, _failed(asked.variable, extraction, check.message))
            for key, (asked, extraction) in _concerned(now, check).items()
        }
    return {key: extraction for key, (_, extraction) in now.items() if extraction is not row[key][1]}


def _asked_again(
    interview: Interview,
    chunks: Sequence[Chunk],
    row: Mapping[str, tuple[Asked, Extraction]],
    check: CheckOfRow,
    conventions: Conventions,
) -> _Row:
    """What the variables of a broken check get when they are asked once more, as far as there are answers."""
    concerned = _concerned(row, check)
    corrections = tuple(
        Correction(
            variable=asked.variable.name, answer=None if value is None else value_text(value), problem=check.message
        )
        for asked, extraction in concerned.values()
        for value in extraction.accepted or (None,)
    )
    again = replace(interview, context=replace(interview.context, correction=corrections))
    held = holding(
        chunks, [proof for _, found in concerned.values() for value in found.values for proof in value.evidence]
    )
    outcomes = answer(again, held, [asked for asked, _ in concerned.values()], conventions)
    brought = {key: (asked, outcomes[asked.variable.name]) for key, (asked, _) in concerned.items()}
    return {key: (asked, outcome) for key, (asked, outcome) in brought.items() if isinstance(outcome, Extraction)}


def _concerned(row: Mapping[str, tuple[Asked, Extraction]], check: CheckOfRow) -> _Row:
    """What of a row a check is about."""
    return {name_key(name): row[name_key(name)] for name in check.check.names if name_key(name) in row}


def _broken(checks: Sequence[CheckOfRow], row: Mapping[str, tuple[Asked, Extraction]]) -> KeysView[CheckOfRow]:
    """The checks that a row breaks, in their order."""
    values = _values(row)
    return {check: None for check in checks if broken(check.check, values)}.keys()


def _failed(variable: Variable, extraction: Extraction, message: str) -> Extraction:
    told = dict.fromkeys([*(extraction.detail or "").splitlines(), message])
    detailed, signals = replace(extraction, detail="\n".join(told)), extraction.signals
    return weighed(detailed, variable, [*extraction.flags, "check_failed"], said=signals.said, tokens=signals.tokens)


def _values(row: Mapping[str, tuple[Asked, Extraction]]) -> dict[str, Value | tuple[Value, ...] | None]:
    """A row's values, as its checks see them."""
    return {
        asked.variable.name: extraction.accepted
        if asked.variable.takes_several
        else next(iter(extraction.accepted), None)
        for asked, extraction in row.values()
    }


def holding(chunks: Sequence[Chunk], evidence: Sequence[Evidence]) -> tuple[Chunk, ...]:
    """The chunks in which evidence stands, as few as hold all of it; all chunks where it stands nowhere."""
    chosen: dict[int, Chunk] = {}
    for start, end in sorted(
        _spans(evidence), key=lambda span: -span[1]
    ):  # from the back: so the first ones serve most
        if any(chunk.start <= start and end <= chunk.end for chunk in chosen.values()):
            continue
        over = [chunk for chunk in chunks if chunk.start < end and start < chunk.end]
        whole = [chunk for chunk in over if chunk.start <= start and end <= chunk.end]
        chosen |= {chunk.number: chunk for chunk in (whole[:1] or over)}
    return tuple(chosen[number] for number in sorted(chosen)) or tuple(chunks)


def _spans(evidence: Sequence[Evidence]) -> Iterator[tuple[int, int]]:
    for proof in evidence:
        for place in proof.places:
            yield place.start, place.end
