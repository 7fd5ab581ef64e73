"""How sure an extraction is: the signals, and the one rule that combines them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from winnow.confidence import combine, grounding, validation
from winnow.extractions import Evidence, FoundValue, Signals

SHARE = st.floats(0, 1)
MAYBE = st.none() | SHARE


def proved(mark="exact", score=1.0):
    return Evidence(quote="q", mark=mark, score=score)


def found(*evidence, value="v"):
    return FoundValue(value=value, raw="v", evidence=evidence)


@settings(deadline=None, database=None)
@given(MAYBE, MAYBE, MAYBE, MAYBE)
def test_the_weakest_signal_decides(said, quoted, valid, tokens):
    confidence = combine(Signals(said=said, grounding=quoted, validation=valid, tokens=tokens))
    there = [signal for signal in (said, quoted, valid, tokens) if signal is not None]
    assert confidence == (min(there) if there else 0.0)


@settings(deadline=None, database=None)
@given(SHARE, SHARE, SHARE)
def test_a_sure_model_does_not_outweigh_its_evidence(said, quoted, less):
    better = combine(Signals(said=said, grounding=max(quoted, less)))
    assert combine(Signals(said=said, grounding=min(quoted, less))) <= better <= said


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(found(proved()), 1.0, id="exact"),
        pytest.param(found(proved("normalised")), 1.0, id="normalised"),
        pytest.param(found(proved("approximate", 0.92)), 0.92, id="approximate, by its score"),
        pytest.param(found(proved("absent", 0.0)), 0.3, id="absent"),
        pytest.param(found(), 0.5, id="no quote"),
        pytest.param(found(value=False), 1.0, id="what is not there has no words"),
        pytest.param(found(proved("absent", 0.0), value=False), 0.3, id="but no false ones"),
        pytest.param(found(proved("absent", 0.0), proved("approximate", 0.8)), 0.8, id="the best evidence of several"),
    ],
)
def test_how_a_value_is_proved(value, expected):
    assert grounding([value]) == expected


def test_the_worst_proved_value_counts():
    assert grounding([found(proved()), found(), found(proved("approximate", 0.9))]) == 0.5
    assert grounding([]) is None


@pytest.mark.parametrize(
    ("flags", "expected"), [({"evidence_absent"}, 0.3), ({"no_evidence"}, 0.5), ({"conflict", "invalid"}, 1.0)]
)
def test_a_joined_value_is_no_better_than_its_worst_piece(flags, expected):
    assert grounding([found(proved())], flags) == expected


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ((), 1.0),
        (("evidence_absent", "no_evidence", "low_confidence"), 1.0),  # signals of their own
        (("not_readable",), 0.2),
        (("invalid",), 0.2),
        (("no_value",), 0.2),
        (("check_failed",), 0.4),
        (("several_values",), 0.5),
        (("conflict",), 0.5),
        (("unclear",), 0.5),
        (("incomplete",), 0.5),
        (("conflict", "check_failed", "incomplete"), 0.4),
    ],
)
def test_what_flags_say_of_a_cell(flags, expected):
    assert validation(flags) == expected
