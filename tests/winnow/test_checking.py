import pytest

from winnow.answers import Answer
from winnow.checking import check_answer
from winnow.codebook import Variable
from winnow.documents import Piece, assemble
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
    return Variable.model_validate({"name": "v", "type": kind, "instructions": "i", **more})


def check(asked, *values, status="found", confidence=0.9):
    """`values` are pairs of what the model wrote and its evidence."""
    given = [{"value": value, "evidence": evidence} for value, evidence in values]
    answer = {"variable": "v", "status": status, "values": given, "confidence": confidence}
    return check_answer(Answer.model_validate(answer), asked, GROUNDER)


def test_a_proved_value():
    extraction = check(variable("number", unit="USD"), ("$1,250", "fee is $1,250"))
    (found,) = extraction.values
    assert (extraction.status, extraction.flags, extraction.confidence) == ("found", (), 0.9)
    assert (found.value, found.raw, found.problem) == (1250.0, "$1,250", None)
    assert (found.evidence.mark, found.evidence.page) == ("exact", 2)
    assert DOCUMENT.text[found.evidence.start : found.evidence.end] == "fee is $1,250"
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
    assert found.evidence.mark == "exact"


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
    assert (found.raw, found.evidence.mark, extraction.flags) == ("1,250", "exact", ())


def test_a_joined_value_keeps_the_first_evidence():
    (found,) = check(variable(if_multiple_values="join"), ACME, BOLT).values
    assert (found.raw, found.evidence.quote) == ("Acme Inc.; Bolt", "Acme Inc.")


def test_unreadable_values_stay_for_a_person_to_see():
    extraction = check(variable("number"), ("many", "fee"), ("1", "fee"), ("2", "fee"), ("many", "term"))
    assert [(found.raw, found.value) for found in extraction.values] == [("many", None), ("1", 1.0)]
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
