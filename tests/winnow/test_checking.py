"""What an answer must pass, and how the answers about the parts of a document become one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from winnow.answers import Answer
from winnow.checking import Part, check_answers
from winnow.codebook import Variable
from winnow.coercion import Conventions
from winnow.documents import Piece, assemble
from winnow.exceptions import OutputError, RejectedCallError
from winnow.extractions import Signals, Unread
from winnow.grounding import Grounder

DOCUMENT = assemble(
    [
        Piece(kind="title", text="Services Agreement", page=1),
        Piece(kind="paragraph", text="Made on 1 May 2006 between Acme Inc. and “Bolt” Ltd.", page=1),
        Piece(kind="paragraph", text="The fee is $1,250 for a term of\ntwo years.", page=2),
    ],
    media_type="text/plain",
    parser="test",
)
GROUNDER = Grounder(DOCUMENT.text, DOCUMENT.blocks)


def variable(kind="text", **more):
    given = {"name": "v", "type": kind, "instructions": "i", "confidence_threshold": 0, **more}
    return Variable.model_validate(given)


def check(asked, *values, status="found", confidence=0.9):
    """`values` are pairs of what the model wrote and its evidence."""
    return merge(asked, part(*values, status=status, confidence=confidence))


def part(*values, status="found", confidence=0.9, span=None, **more):
    """What a stretch of the document brought; without a span, the whole document."""
    given = [{"value": value, "evidence": evidence} for value, evidence in values]
    answer = {"variable": "v", "status": status, "values": given, "confidence": confidence}
    return Part(span=span or (0, len(DOCUMENT.text)), answer=Answer.model_validate(answer), **more)


def unread(reason="truncated", span=(5, 10), kind=OutputError):
    error = kind(reason, "cut short") if kind is OutputError else kind("refused", reason)
    return Part(span=span, error=error)


def merge(asked, *parts, date_order=None):
    return check_answers(parts, asked, GROUNDER, Conventions(date_order=date_order))


def test_a_proved_value():
    extraction = check(variable("number", unit="USD"), ("$1,250", "fee is $1,250"))
    (found,) = extraction.values
    assert (extraction.status, extraction.flags, extraction.confidence) == ("found", (), 0.9)
    assert (found.value, found.raw, found.problem) == (1250.0, "$1,250", None)
    (evidence,) = found.evidence
    assert (evidence.mark, evidence.page) == ("exact", 2)
    assert DOCUMENT.text[evidence.start : evidence.end] == "fee is $1,250"
    assert found.confidence == 0.9
    assert extraction.signals == Signals(said=0.9, grounding=1.0, validation=1.0)
    assert extraction.accepted == (1250.0,)
    assert not extraction.flagged


@pytest.mark.parametrize(
    ("asked", "values", "flags", "accepted"),
    [
        pytest.param(variable(), [("two years", "a term of two years")], (), ("two years",), id="normalised evidence"),
        pytest.param(variable(), [("x", "not in there")], ("evidence_absent",), ("x",), id="evidence absent: kept"),
        pytest.param(variable(), [("x", "")], ("no_evidence",), ("x",), id="no evidence"),
        pytest.param(variable(), [("x", " \n")], ("no_evidence",), ("x",), id="blank evidence"),
        pytest.param(variable(), [("x", "—")], ("evidence_absent",), ("x",), id="a dash for evidence"),
        pytest.param(variable(), [("x", "\x00fee\x00")], (), ("x",), id="control characters in evidence"),
        pytest.param(variable(), [], ("no_value",), (), id="found, but nothing given"),
        pytest.param(variable(), [(" ", "fee")], ("not_readable",), (), id="an empty value"),
        pytest.param(variable("number"), [("many", "fee")], ("not_readable",), (), id="not readable"),
        pytest.param(
            variable("number"), [("many", "gone")], ("evidence_absent", "not_readable"), (), id="nor to be found"
        ),
        pytest.param(
            variable("number", validation={"max": 1000}), [("1250", "$1,250")], ("invalid",), (), id="above the maximum"
        ),
        pytest.param(
            variable(validation={"pattern": "^[A-Z]"}), [("acme", "Acme")], ("invalid",), (), id="against the pattern"
        ),
        pytest.param(variable("boolean"), [("no", "")], (), (False,), id="false needs no words"),
        pytest.param(variable("boolean"), [("no", "gone")], ("evidence_absent",), (False,), id="but no false ones"),
        pytest.param(variable("boolean"), [("yes", "")], ("no_evidence",), (True,), id="true needs words"),
        pytest.param(
            variable("category", categories=[{"value": "s", "label": "Services"}]),
            [("SERVICES", "Services Agreement")],
            (),
            ("s",),
            id="category by its label",
        ),
        pytest.param(variable("date"), [("2006-05-01", "1 May 2006")], (), ("2006-05-01",), id="date"),
        pytest.param(variable("date"), [("01/05/2006", "1 May 2006")], ("not_readable",), (), id="ambiguous date"),
        pytest.param(
            variable("number", default=7), [("many", "fee")], ("not_readable",), (), id="no default for what is there"
        ),
    ],
)
def test_one_value(asked, values, flags, accepted):
    extraction = check(asked, *values)
    assert (extraction.flags, extraction.accepted) == (flags, accepted)
    assert extraction.flagged == bool(flags)
    assert [found.raw for found in extraction.values] == [value.replace("\x00", "") for value, _ in values]


def test_a_refused_value_says_why_and_keeps_its_evidence():
    (found,) = check(variable("number", validation={"max": 1000}), ("1250", "$1,250")).values
    assert (found.value, found.raw, found.problem) == (None, "1250", "is above the maximum, 1000.0")
    assert [evidence.mark for evidence in found.evidence] == ["exact"]


@pytest.mark.parametrize(
    ("status", "values", "default", "flags", "kept", "filled"),
    [
        pytest.param("not_stated", [], None, (), (), None, id="not stated"),
        pytest.param("not_stated", [], "none", (), (), "none", id="not stated, with a default"),
        pytest.param("not_stated", [("x", "fee")], None, (), (), None, id="not stated: values are dropped"),
        pytest.param("not_applicable", [], "none", (), (), None, id="not applicable takes no default"),
        pytest.param("not_applicable", [("x", "fee")], None, (), (), None, id="not applicable: values are dropped"),
        pytest.param("unclear", [], "none", ("unclear",), (), None, id="unclear takes no default"),
        pytest.param("unclear", [("x", "fee")], None, ("unclear",), ("x",), None, id="unclear keeps its candidate"),
        pytest.param(
            "unclear", [("x", "gone")], None, ("evidence_absent", "unclear"), ("x",), None, id="unclear and not there"
        ),
        pytest.param("found", [("x", "fee")], "none", (), ("x",), None, id="found takes no default"),
    ],
)
def test_status(status, values, default, flags, kept, filled):
    extraction = check(variable(default=default), *values, status=status)
    assert (extraction.status, extraction.flags) == (status, flags)
    assert tuple(found.value for found in extraction.values) == kept
    assert extraction.default == filled


@pytest.mark.parametrize("filled", [0, False])
def test_a_default_may_be_zero_or_false(filled):
    asked = variable("boolean" if filled is False else "number", default=filled)
    assert check(asked, status="not_stated").accepted == (filled,)


@pytest.mark.parametrize("status", ["found", "not_stated", "not_applicable"])
@pytest.mark.parametrize(("confidence", "low"), [(0.0, True), (0.69, True), (0.7, False), (1.0, False)])
def test_confidence(status, confidence, low):
    values = [("x", "fee")] if status == "found" else []
    extraction = check(variable(confidence_threshold=0.7), *values, status=status, confidence=confidence)
    assert extraction.flags == (("low_confidence",) if low else ())
    assert extraction.confidence == confidence


ACME, BOLT, FEE = ("Acme Inc.", "Acme Inc."), ("Bolt", "Bolt"), ("1250", "fee is $1,250")


@pytest.mark.parametrize(
    ("more", "values", "flags", "accepted"),
    [
        pytest.param({}, [ACME, BOLT], ("several_values",), ("Acme Inc.",), id="first is the default"),
        pytest.param(
            {"if_multiple_values": "most_confident"}, [BOLT, ACME], ("several_values",), ("Bolt",), id="most confident"
        ),
        pytest.param(
            {"if_multiple_values": "join"}, [ACME, BOLT], ("several_values",), ("Acme Inc.; Bolt",), id="join"
        ),
        pytest.param(
            {"if_multiple_values": "join", "max_values": 3}, [ACME, BOLT], (), ("Acme Inc.; Bolt",), id="join, as asked"
        ),
        pytest.param({"if_multiple_values": "join"}, [ACME], (), ("Acme Inc.",), id="nothing to join"),
        pytest.param({"max_values": 3}, [ACME, BOLT], (), ("Acme Inc.", "Bolt"), id="as many as asked"),
        pytest.param(
            {"max_values": 2}, [ACME, BOLT, FEE], ("several_values",), ("Acme Inc.", "Bolt"), id="the first two"
        ),
        pytest.param(
            {"max_values": 2, "if_multiple_values": "all"},
            [ACME, BOLT, FEE],
            ("several_values",),
            ("Acme Inc.", "Bolt", "1250"),
            id="all, though more than asked",
        ),
        pytest.param({}, [ACME, ACME, (" Acme Inc. ", "Acme")], (), ("Acme Inc.",), id="the same value thrice"),
        pytest.param(
            {}, [ACME, ("Bolt", "gone")], ("several_values",), ("Acme Inc.",), id="only what is kept is flagged"
        ),
        pytest.param(
            {"if_multiple_values": "join"},
            [ACME, ("Bolt", "gone")],
            ("evidence_absent", "several_values"),
            ("Acme Inc.; Bolt",),
            id="what is joined is kept",
        ),
        pytest.param({}, [("", "fee"), ACME], ("not_readable",), ("Acme Inc.",), id="one that cannot be read"),
    ],
)
def test_several_values(more, values, flags, accepted):
    extraction = check(variable(**more), *values)
    assert (extraction.flags, extraction.accepted) == (flags, accepted)


@pytest.mark.parametrize(
    ("kind", "values", "accepted"),
    [
        pytest.param("number", ["1250", "1,250", "$1,250.00"], (1250.0,), id="numbers"),
        pytest.param("date", ["2006-05-01", "1 May 2006"], ("2006-05-01",), id="dates"),
        pytest.param("boolean", ["yes", "true", "1"], (True,), id="booleans"),
    ],
)
def test_values_are_compared_as_they_were_read(kind, values, accepted):
    extraction = check(variable(kind), *((value, "fee") for value in values))
    assert (extraction.flags, extraction.accepted) == ((), accepted)


def test_numbers_are_not_joined_into_text():
    extraction = check(variable("number", if_multiple_values="join"), ("1", "fee"), ("2", "fee"))
    assert extraction.accepted == (1.0, 2.0)
    assert extraction.flags == ("several_values",)


def test_the_proved_one_of_two_equal_values_is_kept():
    extraction = check(variable("number"), ("1250", "gone"), ("1,250", "$1,250"))
    (found,) = extraction.values
    assert (found.raw, extraction.flags, extraction.confidence) == ("1,250", (), 0.9)
    assert [evidence.mark for evidence in found.evidence] == ["exact", "absent"]


def test_a_joined_value_keeps_the_evidence_of_each():
    (found,) = check(variable(if_multiple_values="join"), ACME, BOLT).values
    assert found.raw == "Acme Inc.; Bolt"
    assert [evidence.quote for evidence in found.evidence] == ["Acme Inc.", "Bolt"]


def test_a_joined_value_is_no_surer_than_its_worst_piece():
    extraction = check(variable(if_multiple_values="join", max_values=2), ACME, ("Bolt", "gone"))
    assert (extraction.flags, extraction.confidence) == (("evidence_absent",), 0.3)
    assert extraction.signals.grounding == 0.3


def test_unreadable_values_stay_for_a_person_to_see():
    extraction = check(variable("number"), ("many", "fee"), ("1", "fee"), ("2", "fee"), ("many", "term"))
    assert [(found.raw, found.value) for found in extraction.values] == [("1", 1.0), ("many", None)]
    assert extraction.flags == ("not_readable", "several_values")


def test_unclear_keeps_no_more_than_the_variable_takes():
    extraction = check(variable(), ACME, BOLT, status="unclear")
    assert extraction.accepted == ("Acme Inc.",)
    assert extraction.flags == ("unclear", "several_values")


def test_flags_stand_in_their_order_whatever_the_order_of_the_checks():
    extraction = check(
        variable("number", max_values=5, validation={"max": 5}, confidence_threshold=1),
        ("9", "fee"), ("many", ""), ("1", "gone"),
        status="unclear",
    )  # fmt: skip
    assert extraction.flags == (
        "evidence_absent", "no_evidence", "low_confidence", "unclear", "not_readable", "invalid",
    )  # fmt: skip


START, MIDDLE, END = DOCUMENT.text.index("Made"), DOCUMENT.text.index("The fee"), len(DOCUMENT.text)
FIRST, SECOND = (0, MIDDLE), (MIDDLE, END)
MADE, TERM = ("Acme", "Acme Inc."), ("Acme", "term of")


def test_the_same_value_in_two_parts_is_one_value_with_two_pieces_of_evidence():
    extraction = merge(variable(), part(MADE, span=FIRST, confidence=0.7), part(TERM, span=SECOND))
    (found,) = extraction.values
    assert (extraction.accepted, extraction.flags, extraction.confidence) == (("Acme",), (), 0.9)
    assert [evidence.quote for evidence in found.evidence] == ["Acme Inc.", "term of"]
    assert found.confidence == 0.9


def test_overlapping_parts_give_one_piece_of_evidence():
    extraction = merge(variable(), part(ACME, span=FIRST), part(ACME, span=(START, END)))
    (found,) = extraction.values
    assert [(DOCUMENT.text[proof.start : proof.end], proof.quote) for proof in found.evidence] == [("Acme Inc.",) * 2]


def test_a_text_that_parts_write_alike_is_one_value():
    extraction = merge(
        variable(), part(("Two  Years", "two years"), span=SECOND), part(("two\nyears", "term of"), span=SECOND)
    )
    assert (extraction.accepted, extraction.flags) == (("Two  Years",), ())
    assert len(extraction.values[0].evidence) == 2


def test_long_texts_are_compared_as_they_are():
    long = "x" * 1001
    assert merge(variable(), part((long, "fee")), part((long, "fee"))).accepted == (long,)
    assert merge(variable(), part((long, "fee")), part((long.upper(), "fee"))).flags == ("conflict",)


@pytest.mark.parametrize(
    ("more", "accepted", "flags", "confidence"),
    [
        pytest.param({}, ("Acme Inc.",), ("conflict",), 0.5, id="first"),
        pytest.param({"if_multiple_values": "most_confident"}, ("Bolt",), ("conflict",), 0.5, id="most confident"),
        pytest.param({"if_multiple_values": "join"}, ("Acme Inc.; Bolt",), ("several_values",), 0.5, id="join"),
        pytest.param(
            {"if_multiple_values": "join", "max_values": 2}, ("Acme Inc.; Bolt",), (), 0.6, id="join, as asked"
        ),
        pytest.param({"if_multiple_values": "all", "max_values": 2}, ("Acme Inc.", "Bolt"), (), 0.6, id="all"),
        pytest.param(
            {"if_multiple_values": "all", "max_values": 3}, ("Acme Inc.", "Bolt"), (), 0.6, id="room for more"
        ),
        pytest.param({"max_values": 2}, ("Acme Inc.", "Bolt"), (), 0.6, id="as many as asked"),
    ],
)
def test_different_values_in_two_parts(more, accepted, flags, confidence):
    extraction = merge(variable(**more), part(ACME, span=FIRST, confidence=0.6), part(BOLT, span=FIRST, confidence=0.8))
    assert (extraction.accepted, extraction.flags, extraction.confidence) == (accepted, flags, confidence)


def test_more_than_all_may_have_is_flagged_as_several():
    extraction = merge(variable(if_multiple_values="all", max_values=2), part(ACME, FEE), part(BOLT))
    assert (extraction.accepted, extraction.flags) == (("Acme Inc.", "1250", "Bolt"), ("several_values",))


def test_values_of_one_part_that_exceed_are_several_and_no_conflict():
    extraction = merge(variable(), part(ACME, BOLT), part(ACME))
    assert extraction.flags == ("several_values",)


def test_what_is_unreadable_in_one_part_conflicts_with_nothing():
    extraction = merge(variable("number"), part(("many", "fee")), part(("1250", "fee")))
    assert (extraction.accepted, extraction.flags) == ((1250.0,), ("not_readable",))


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (["not_stated", "found"], "found"),
        (["not_applicable", "found", "unclear"], "found"),
        (["unclear", "not_stated"], "unclear"),
        (["not_applicable", "unclear"], "unclear"),
        (["not_stated", "not_stated"], "not_stated"),
        (["not_applicable", "not_applicable"], "not_applicable"),
        (["not_applicable", "not_stated"], "not_stated"),
    ],
)
def test_the_status_of_several_parts(given, status):
    for order in (given, given[::-1]):
        values = {"found": [ACME], "unclear": [BOLT]}
        extraction = merge(variable(), *(part(*values.get(one, []), status=one) for one in order))
        assert extraction.status == status
        assert extraction.accepted == {"found": ("Acme Inc.",), "unclear": ("Bolt",)}.get(status, ())
        assert extraction.flags == (("unclear",) if status == "unclear" else ())


def test_confidence_is_of_the_parts_that_tell():
    silent, telling = part(status="not_stated", confidence=0.1, probability=0.2), part(ACME, probability=0.8)
    extraction = merge(variable(), silent, telling)
    assert extraction.signals == Signals(said=0.9, grounding=1.0, validation=1.0, tokens=0.8)
    assert extraction.confidence == 0.8
    assert merge(variable(), telling, part(ACME, probability=0.6), part(ACME)).signals.tokens == 0.6
    assert merge(variable(), silent, part(status="not_stated")).confidence == 0.1


def test_signals_are_kept_apart_and_combined():
    asked = variable("number", validation={"max": 5}, confidence_threshold=0.25)
    extraction = merge(asked, part(("1250", "fee is $1,250"), probability=0.6))
    assert extraction.flags == ("low_confidence", "invalid")
    assert (extraction.signals.said, extraction.signals.tokens, extraction.signals.validation) == (0.9, 0.6, 0.2)
    assert extraction.confidence == 0.2
    assert merge(variable(), part(("x", ""))).signals == Signals(said=0.9, grounding=0.5, validation=1.0)


@pytest.mark.parametrize(
    ("values", "probability", "confidence"),
    [
        pytest.param([("1250", "gone")], None, 0.3, id="evidence"),
        pytest.param([("1250", "fee")], 0.4, 0.4, id="tokens"),
        pytest.param([("many", "fee")], None, 0.2, id="validation"),
    ],
)
def test_the_threshold_acts_on_the_combined_figure(values, probability, confidence):
    extraction = merge(variable("number", confidence_threshold=0.5), part(*values, probability=probability))
    assert extraction.signals.said == 0.9
    assert extraction.confidence == confidence
    assert "low_confidence" in extraction.flags
    lower = merge(variable("number", confidence_threshold=confidence), part(*values, probability=probability))
    assert "low_confidence" not in lower.flags


def test_a_part_that_could_not_be_read_makes_the_cell_incomplete():
    extraction = merge(variable(), unread(), part(ACME), unread("too_long", (20, 30), RejectedCallError))
    assert (extraction.accepted, extraction.flags, extraction.confidence) == (("Acme Inc.",), ("incomplete",), 0.5)
    assert extraction.unread == (
        Unread(start=5, end=10, reason="truncated"),
        Unread(start=20, end=30, reason="too_long"),
    )


@pytest.mark.parametrize("kind", [OutputError, RejectedCallError])
def test_a_cell_without_any_answer_has_the_first_error(kind):
    with pytest.raises(kind) as caught:
        merge(variable(), unread("malformed", kind=kind), unread("truncated", kind=kind))
    assert caught.value.reason == "malformed"


def test_a_default_stands_only_where_the_whole_document_states_nothing():
    asked = variable(default="none")
    assert merge(asked, part(status="not_stated"), part(status="not_stated")).accepted == ("none",)
    assert merge(asked, part(status="not_stated"), part(status="not_applicable")).accepted == ("none",)
    assert merge(asked, part(status="not_stated"), part(ACME)).accepted == ("Acme Inc.",)
    assert merge(asked, part(status="not_stated"), part(status="unclear")).accepted == ()
    assert merge(asked, part(status="not_applicable")).accepted == ()
    unfinished = merge(asked, part(status="not_stated"), unread())
    assert (unfinished.accepted, unfinished.flags) == ((), ("incomplete",))


@pytest.mark.parametrize(
    ("evidence", "flags", "accepted"),
    [
        pytest.param("fee", (), ("x",), id="there"),
        pytest.param("gone", ("evidence_absent",), (), id="absent"),
        pytest.param("", ("no_evidence",), (), id="none"),
    ],
)
def test_a_codebook_may_drop_what_has_no_evidence(evidence, flags, accepted):
    extraction = check(variable(without_evidence="drop"), ("x", evidence))
    (found,) = extraction.values
    assert (extraction.flags, extraction.accepted, extraction.status) == (flags, accepted, "found")
    assert found.problem == (None if accepted else "is dropped, as its evidence is not in the document")
    assert found.raw == "x"


def test_a_value_that_cannot_be_read_is_not_said_to_be_dropped():
    (found,) = check(variable("number", without_evidence="drop"), ("many", "gone")).values
    assert "dropped" not in found.problem


def test_a_dropped_value_does_not_stand_in_the_way_of_a_proved_one():
    asked = variable(without_evidence="drop")
    extraction = merge(asked, part(("Bolt", "gone")), part(ACME))
    assert extraction.accepted == ("Acme Inc.",)
    assert "conflict" not in extraction.flags
    assert check(variable("boolean", without_evidence="drop"), ("no", "")).accepted == (False,)


def test_evidence_is_looked_for_in_the_part_that_gave_it():
    extraction = merge(variable(), part(("x", "of"), span=SECOND), part(("x", "on"), span=FIRST))
    places = [proof.start for proof in extraction.values[0].evidence]
    assert places[0] >= MIDDLE > places[1]
    (elsewhere,) = merge(variable(), part(("x", "two years"), span=FIRST)).values
    assert elsewhere.evidence[0].start > MIDDLE  # only if it is not there


REPEATED = assemble(
    [Piece(kind="paragraph", text=text) for text in ("Pay 5 now.", "Rent. Pay 5 now.", "Heat. Pay 5 now. Water.")],
    media_type="text/plain",
    parser="test",
)


@pytest.mark.parametrize(
    ("first", "block", "within"),
    [
        pytest.param("Pay 5", 0, None, id="the first"),
        pytest.param("Water", 2, None, id="near the other evidence"),
        pytest.param("Pay 5", 1, 1, id="in the part that was asked"),
    ],
)
def test_of_repeated_words_those_in_the_part_and_near_other_evidence_are_meant(first, block, within):
    blocks = REPEATED.blocks
    span = (blocks[within].start, len(REPEATED.text)) if within else (0, len(REPEATED.text))
    given = part(("a", first), ("b", "Pay 5 now"), span=span)
    extraction = check_answers([given], variable(max_values=2), Grounder(REPEATED.text, blocks), Conventions())
    start = extraction.values[1].evidence[0].start
    assert blocks[block].start <= start < blocks[block].end


def test_values_are_read_by_the_codebooks_conventions():
    extraction = merge(variable("date"), part(("01/05/2006", "1 May 2006")), date_order="DMY")
    assert extraction.accepted == ("2006-05-01",)


STATUSES = st.sampled_from(["found", "not_stated", "not_applicable", "unclear"])
GIVEN = st.lists(st.sampled_from([ACME, BOLT, FEE, ("x", "gone"), ("y", "")]), max_size=3)
PARTS = st.lists(
    st.builds(
        lambda values, status, sure: part(*values, status=status, confidence=sure), GIVEN, STATUSES, st.floats(0, 1)
    )
    | st.just(unread()),
    min_size=1,
    max_size=4,
)
RULES = st.sampled_from(["first", "most_confident", "join", "all"])


@settings(deadline=None, database=None)
@given(PARTS, RULES, st.integers(2, 3), st.sampled_from(["flag", "drop"]))
def test_what_holds_for_whatever_parts_say(parts, rule, most, without):
    asked = variable(
        if_multiple_values=rule, max_values=most, without_evidence=without, default="none", confidence_threshold=0.5
    )
    answered = [one for one in parts if one.answer]
    if not answered:
        with pytest.raises(OutputError):
            merge(asked, *parts)
        return
    extraction = merge(asked, *parts)
    said = {given.value for one in answered if one.answer.status == extraction.status for given in one.answer.values}
    assert {raw for found in extraction.values for raw in found.raw.split("; ")} <= said
    assert len({found.value for found in extraction.values if found.value}) == sum(
        found.value is not None for found in extraction.values
    )
    assert ("incomplete" in extraction.flags) == (len(answered) < len(parts))
    assert ("low_confidence" in extraction.flags) == (extraction.confidence < asked.confidence_threshold)
    assert extraction.confidence <= min(1.0, extraction.signals.said)
    assert (extraction.default is None) or (extraction.status, len(answered)) == ("not_stated", len(parts))
    if rule in ("first", "most_confident"):
        assert sum(found.value is not None for found in extraction.values) <= most
    again = merge(asked, *parts, *parts)
    assert again.accepted == extraction.accepted  # the same parts twice say nothing new
