"""How sure an extraction is: what the model said, held down by the weakest thing that speaks for it.

The signals are kept apart (`winnow.extractions.Signals`) and combined by one rule: the smallest of those there are.
A model that is sure of itself so cannot outweigh evidence that is not in the document, and good evidence cannot make
up for a model that is not sure. The combined figure is what `confidence_threshold` acts on.
"""

from collections.abc import Iterable

from winnow.extractions import Evidence, Flag, FoundValue, Mark, Signals

_BY_MARK: dict[Mark, float] = {"exact": 1.0, "normalised": 1.0, "approximate": 1.0, "absent": 0.3}
_NO_QUOTE = 0.5
_BY_LACK: dict[Flag, float] = {"evidence_absent": _BY_MARK["absent"], "no_evidence": _NO_QUOTE}
_BY_FLAG: dict[Flag, float] = {
    "not_readable": 0.2,
    "invalid": 0.2,
    "no_value": 0.2,
    "check_failed": 0.4,
    "several_values": 0.5,
    "conflict": 0.5,
    "unclear": 0.5,
    "incomplete": 0.5,
}


def combine(signals: Signals) -> float:
    """The confidence of an extraction, between 0 and 1."""
    given = (signals.said, signals.grounding, signals.validation, signals.tokens)
    return min((signal for signal in given if signal is not None), default=0.0)


def grounding(values: Iterable[FoundValue], flags: Iterable[Flag] = ()) -> float | None:
    """How well the worst proved of these values is proved by its best evidence; None without values.

    A flag says what lacks proof in a value that was joined from several.
    """
    lacking = (_BY_LACK[flag] for flag in flags if flag in _BY_LACK)
    return min((*map(_proof, values), *lacking), default=None)


def _proof(found: FoundValue) -> float:
    if not found.evidence:
        return 1.0 if found.value is False else _NO_QUOTE  # what is not in a document has no words there
    return max(_of_evidence(evidence) for evidence in found.evidence)


def _of_evidence(evidence: Evidence) -> float:
    most = _BY_MARK[evidence.mark]
    return min(most, evidence.score) if evidence.mark == "approximate" else most


def validation(flags: Iterable[Flag]) -> float:
    """How well a cell passed what the codebook asks: 1 where nothing was flagged."""
    return min((_BY_FLAG.get(flag, 1.0) for flag in flags), default=1.0)
