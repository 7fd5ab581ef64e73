"""From questions to extractions: what is mended, what is not asked at all, and what a row's checks bring."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.winnow.in_memory import answer as said
from tests.winnow.in_memory import asked, interview, names_of, per_block, reply, source, told, variable, whole
from winnow.answering import CheckOfRow, Parent, answer, check_row, holding, known_values, not_asked, value_text
from winnow.checks import compile_check
from winnow.chunks import Chunk
from winnow.coercion import Conventions
from winnow.exceptions import OutputError
from winnow.extractions import Evidence, Extraction, FoundValue, Place, Signals
from winnow.prompts import Correction, Known

PLAIN = Conventions()
LEASE = source("The lease starts on 2024-03-01.", "It ends on 2023-12-31.", "The fee is 500 euros, or 900 with heat.")
FEE = variable("fee", "number", validation={"max": 600})
MANY, HIGH, GOOD = ("many", "The fee"), ("900", "900 with heat"), ("500", "500 euros")


def replies(*given):
    """A model that gives these answers, one after the other."""
    left = list(given)

    def rule(request, text):
        next_one = left.pop(0)
        return next_one if not isinstance(next_one, dict) else reply(next_one)

    return rule


def answered(rule, *variables, chunks=None, **context):
    asking, asker = interview(LEASE, rule, **context)
    return answer(asking, chunks or whole(LEASE), asked(*variables), PLAIN), asker


def test_a_good_answer_is_asked_once():
    found, asker = answered(replies(said("fee", GOOD)), FEE)
    assert (found["fee"].accepted, found["fee"].flags) == ((500.0,), ())
    assert len(asker.bought) == 1


def test_an_invalid_value_is_asked_once_more_with_what_was_wrong():
    found, asker = answered(replies(said("fee", HIGH), said("fee", GOOD)), FEE)
    assert (found["fee"].accepted, found["fee"].flags) == ((500.0,), ())
    assert len(asker.bought) == 2
    assert asker.bought[1].question.correction == (
        Correction(variable="fee", answer="900", problem="is above the maximum, 600.0"),
    )
    assert '"answer": "900", "problem": "is above the maximum, 600.0"' in asker.prompt(asker.bought[1])


def test_a_value_that_cannot_be_read_is_asked_once_more():
    found, asker = answered(replies(said("fee", MANY), said("fee", GOOD)), FEE)
    assert found["fee"].accepted == (500.0,)
    (correction,) = asker.bought[1].question.correction
    assert correction.answer == "many"
    assert correction.problem


def test_the_model_may_take_its_value_back():
    found, _ = answered(replies(said("fee", HIGH), said("fee")), FEE)
    assert (found["fee"].status, found["fee"].values) == ("not_stated", ())


NO_BETTER = {
    "as bad": said("fee", MANY),
    "worse": said("fee", MANY, HIGH),
    "malformed": told("no JSON"),
    "cut short": told("", finish_reason="length"),
    "refused": told("", refusal=True),
}


@pytest.mark.parametrize("second", NO_BETTER.values(), ids=NO_BETTER)
def test_an_answer_that_is_no_better_does_not_replace_the_first(second):
    found, asker = answered(replies(said("fee", HIGH), second, second), FEE)
    assert [value.raw for value in found["fee"].values] == ["900"]
    assert "invalid" in found["fee"].flags
    assert len(asker.bought) <= 3
    assert asker.rejected == []


def test_it_is_asked_once_more_and_not_again():
    several = variable("fee", "number", max_values=3, if_multiple_values="all")
    left = [said("fee", MANY, ("lots", "fee")), said("fee", MANY, GOOD)]
    found, asker = answered(replies(*left), several)
    assert [value.raw for value in found["fee"].values] == ["many", "500"]  # better, though not good
    assert len(asker.bought) == 2


def test_an_absent_quote_or_too_many_values_are_no_reason_to_ask_again():
    found, asker = answered(replies(said("fee", ("500", "not in there"), ("400", "fee"))), FEE)
    assert {"evidence_absent", "several_values"} <= set(found["fee"].flags)
    assert len(asker.bought) == 1


def test_only_the_variable_and_the_part_with_the_fault_are_asked_again():
    def rule(request, text):
        if request.question.correction:
            return reply(said("fee", GOOD))
        fee = said("fee", HIGH) if "fee" in text else said("fee")
        return reply(*(fee if name == "fee" else said(name, "The") for name in names_of(request)))

    found, asker = answered(rule, FEE, "title", chunks=per_block(LEASE))
    assert asker.names == [["fee", "title"]] * 3 + [["fee"]]
    last = asker.bought[-1]
    assert (last.span, last.question.part) == ((LEASE.blocks[2].start, LEASE.blocks[2].end), (3, 3))
    assert (found["fee"].accepted, found["title"].accepted) == ((500.0,), ("The",))


def test_a_part_that_could_not_be_read_does_not_keep_another_from_being_mended():
    def rule(request, text):
        if "starts" in text:
            return told("", refusal=True)
        return reply(said("fee", GOOD if request.question.correction else HIGH) if "fee" in text else said("fee"))

    found, asker = answered(rule, FEE, chunks=per_block(LEASE))
    assert (found["fee"].accepted, found["fee"].flags) == ((500.0,), ("incomplete",))
    assert len(asker.bought) == 4


def test_a_cell_without_an_answer_has_its_error():
    found, _ = answered(lambda request, text: told("", refusal=True), "fee", "title")
    assert all(isinstance(outcome, OutputError) and outcome.reason == "refused" for outcome in found.values())


def test_answers_are_read_by_the_codebooks_conventions():
    asking, asker = interview(LEASE, replies(said("start", ("01/03/2024", "2024-03-01"))))
    found = answer(asking, whole(LEASE), asked(variable("start", "date")), Conventions(date_order="DMY"))
    assert found["start"].accepted == ("2024-03-01",)
    assert len(asker.bought) == 1


HAS_FEE = variable("has fee", "boolean", confidence_threshold=0.6)
AMOUNT = variable("amount", "number", depends_on=[{"variable": "Has Fee", "condition": "equals", "value": True}])


def extraction(*values, **more):
    found = tuple(FoundValue(value=value, raw=str(value)) for value in values)
    return Extraction(**{"status": "found" if values else "not_stated", "values": found, "confidence": 0.8, **more})


def parents(*values, of=HAS_FEE, **more):
    return {"has fee": Parent(variable=of, extraction=extraction(*values, **more))}


def test_a_variable_without_dependencies_is_asked():
    assert not_asked(HAS_FEE, {}) is None


def test_a_variable_whose_condition_holds_is_asked():
    assert not_asked(AMOUNT, parents(True)) is None


@pytest.mark.parametrize("values", [(False,), ()])
def test_a_variable_whose_condition_fails_is_not_applicable(values):
    outcome = not_asked(AMOUNT, parents(*values))
    assert (outcome.status, outcome.values, outcome.flags) == ("not_applicable", (), ())
    assert outcome.confidence == 0.8  # as sure as what it rests on
    assert outcome.signals == Signals(said=0.8, grounding=None, validation=1.0, tokens=None)


def test_what_rests_on_little_is_flagged():
    assert not_asked(AMOUNT, parents(False, confidence=0.4)).flags == ("low_confidence",)


def test_a_variable_whose_parent_has_no_answer_is_skipped():
    missing = {"has fee": Parent(variable=HAS_FEE, extraction=None)}
    assert not_asked(AMOUNT, missing) == "has fee has no answer"
    assert known_values(AMOUNT, missing) == ()


def test_a_default_of_the_parent_decides_too():
    assert not_asked(AMOUNT, parents(default=True)) is None
    assert known_values(AMOUNT, parents(default=True)) == (Known(variable="has fee", value="true"),)


def test_found_values_of_parents_are_the_context():
    child = variable(
        "x", depends_on=[{"variable": "a", "condition": "is_found"}, {"variable": "b", "condition": "is_found"}] * 2
    )
    known = {
        "a": Parent(variable=variable("A"), extraction=extraction("one", "two")),
        "b": Parent(variable=variable("b"), extraction=extraction()),
    }
    assert known_values(child, known) == (Known(variable="A", value="one; two"),)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (5.0, "5"),
        (0.25, "0.25"),
        (-3.0, "-3"),
        ("2024-05", "2024-05"),
        (1e21, "1" + "0" * 21),
    ],
)
def test_values_as_prompts_write_them(value, text):
    assert value_text(value) == text


START, STOP = variable("start", "date"), variable("end", "date")
ORDER = "the end must not be before the start"
FIRST, LAST = ("2024-03-01", "2024-03-01"), ("2023-12-31", "2023-12-31")


def check(expression, message=ORDER, variables=(START, STOP, FEE)):
    return CheckOfRow(check=compile_check(expression, variables), message=message)


def row_of(*answers, chunks=None):
    """A row as the engine has it, from answers about the lease."""
    given = {START.name: START, STOP.name: STOP, FEE.name: FEE}
    made = {}
    for one in answers:
        (ask,) = asked(given[one["variable"]])
        asking, _ = interview(LEASE, lambda request, text, one=one: reply(one))
        made[one["variable"]] = (ask, answer(asking, whole(LEASE), [ask], PLAIN)[one["variable"]])
    return made


def checked(row, checks, rule, chunks=None):
    asking, asker = interview(LEASE, rule)
    return check_row(asking, chunks or whole(LEASE), row, checks, PLAIN), asker


def never(request, text):
    raise AssertionError("nothing is to be asked")


def test_a_row_that_keeps_its_checks_asks_nothing():
    row = row_of(said("start", LAST), said("end", FIRST))
    assert checked(row, [check("end >= start")], never)[0] == {}


@pytest.mark.parametrize("answers", [[said("start", FIRST)], [said("start", FIRST), said("end")], []])
def test_a_check_that_cannot_be_decided_asks_nothing(answers):
    assert checked(row_of(*answers), [check("end >= start")], never)[0] == {}


BROKEN = row_of(said("start", FIRST), said("end", LAST), said("fee", GOOD))


def test_a_broken_check_asks_its_variables_once_more_and_takes_better_answers():
    better = [said("start", ("2023-03-01", "starts on 2024-03-01")), said("end", LAST)]
    changed, asker = checked(BROKEN, [check("end >= start")], lambda request, text: reply(*better))
    assert [sorted(names) for names in asker.names] == [["end", "start"]]
    assert set(asker.bought[0].question.correction) == {
        Correction(variable="start", answer="2024-03-01", problem=ORDER),
        Correction(variable="end", answer="2023-12-31", problem=ORDER),
    }
    assert changed["start"].accepted == ("2023-03-01",)
    assert "fee" not in changed
    assert all("check_failed" not in one.flags and one.detail is None for one in changed.values())


def stubborn(request, text):
    return reply(
        *(
            {"start": said("start", FIRST), "end": said("end", LAST), "fee": said("fee", GOOD)}[name]
            for name in names_of(request)
        )
    )


def test_a_check_that_stays_broken_is_flagged_with_its_message():
    changed, asker = checked(BROKEN, [check("end >= start")], stubborn)
    assert len(asker.bought) == 1
    assert changed.keys() == {"start", "end"}
    for name, one in changed.items():
        assert "check_failed" in one.flags
        assert one.detail == ORDER
        assert one.accepted == BROKEN[name][1].accepted
        assert one.confidence == one.signals.validation == 0.4
        assert "low_confidence" in one.flags


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(lambda request, text: told("", refusal=True), id="refused"),
        pytest.param(lambda request, text: told("no JSON"), id="malformed"),
        pytest.param(lambda request, text: reply(*map(said, names_of(request))), id="taken back"),
    ],
)
def test_no_answer_to_a_check_keeps_the_old_ones_flagged(rule):
    changed, _ = checked(BROKEN, [check("end >= start")], rule)
    assert changed.keys() == {"start", "end"}
    assert all("check_failed" in one.flags and one.accepted for one in changed.values())


def test_one_new_answer_of_two_may_mend_a_check():
    def forgetful(request, text):
        return (
            reply(said("end", ("2024-12-31", "2023-12-31"))) if "end" in names_of(request) else told("", refusal=True)
        )

    changed, _ = checked(BROKEN, [check("end >= start")], forgetful)
    assert changed.keys() == {"end"}
    assert changed["end"].accepted == ("2024-12-31",)


def test_answers_that_break_another_check_are_not_taken():
    """Better for one check, worse for another: the old answers stand, and say so."""
    checks = [check("end >= start"), check("start >= '2024-01-01'", "the start is in 2024")]
    better = [said("start", ("2023-03-01", "starts on 2024-03-01")), said("end", LAST)]
    changed, asker = checked(BROKEN, checks, lambda request, text: reply(*better))
    assert changed["start"].accepted == ("2024-03-01",)
    assert all((one.detail, "check_failed" in one.flags) == (ORDER, True) for one in changed.values())
    assert len(asker.bought) == 1


def test_every_broken_check_is_told():
    checks = [check("end >= start", "one"), check("start <= '2020-01-01'", "two"), check("fee > 0", "three")]
    changed, asker = checked(BROKEN, checks, stubborn)
    assert changed.keys() == {"start", "end"}
    assert changed["start"].detail == "one\ntwo"
    assert changed["end"].detail == "one"
    assert len(asker.bought) == 2


def test_what_mends_one_check_may_mend_another():
    checks = [check("end >= start", "one"), check("end >= '2024-01-01'", "two")]

    def learns(request, text):
        later = len(request.asked) == 1
        end = said("end", ("2024-12-31", "2023-12-31") if later else LAST)
        return reply(*({"start": said("start", FIRST), "end": end}[name] for name in names_of(request)))

    changed, asker = checked(BROKEN, checks, learns)
    assert changed.keys() == {"end"}
    assert (changed["end"].accepted, changed["end"].flags) == (("2024-12-31",), ())
    assert len(asker.bought) == 2


def test_a_check_asks_only_the_parts_where_its_evidence_stands():
    changed, asker = checked(BROKEN, [check("end >= start")], stubborn, chunks=per_block(LEASE))
    assert asker.spans == [(block.start, block.end) for block in LEASE.blocks[:2]]
    assert [request.question.part for request in asker.bought] == [(1, 3), (2, 3)]
    assert "check_failed" in changed["start"].flags


def evidence(*places):
    return Evidence(quote="q", mark="exact", places=tuple(Place(start=start, end=end) for start, end in places))


CHUNKS = (Chunk(0, 40, 1, 3), Chunk(30, 70, 2, 3), Chunk(60, 100, 3, 3))


@pytest.mark.parametrize(
    ("proofs", "numbers"),
    [
        pytest.param([], [1, 2, 3], id="no evidence"),
        pytest.param([evidence()], [1, 2, 3], id="absent evidence"),
        pytest.param([evidence((5, 10))], [1], id="in one"),
        pytest.param([evidence((32, 38))], [1], id="in the overlap: the first"),
        pytest.param([evidence((45, 50)), evidence((95, 99))], [2, 3], id="in two"),
        pytest.param([evidence((62, 66)), evidence((95, 99))], [3], id="as few as hold all of it"),
        pytest.param([evidence((95, 99)), evidence((62, 66))], [3], id="whatever their order"),
        pytest.param([evidence((50, 90))], [2, 3], id="over two"),
        pytest.param([evidence((1, 2), (80, 90))], [1, 3], id="in pieces"),
        pytest.param([evidence((35, 65))], [2], id="whole in one"),
    ],
)
def test_the_chunks_in_which_evidence_stands(proofs, numbers):
    assert [chunk.number for chunk in holding(CHUNKS, proofs)] == numbers


SPANS = st.tuples(st.integers(0, 98), st.integers(1, 40)).map(lambda pair: (pair[0], min(100, sum(pair))))


@settings(deadline=None, database=None)
@given(st.lists(SPANS, min_size=1, max_size=4))
def test_all_evidence_stands_in_as_few_chunks_as_hold_it(spans):
    held = holding(CHUNKS, [evidence(span) for span in spans])
    assert list(held) == sorted(set(held), key=lambda chunk: chunk.number)
    shown = {at for chunk in held for at in range(chunk.start, chunk.end)}
    assert all(shown.issuperset(range(*span)) for span in spans)
    if all(any(chunk.start <= start and end <= chunk.end for chunk in CHUNKS) for start, end in spans):
        fewest = next(
            number for number in (1, 2, 3) for few in combinations(CHUNKS, number)
            if all(any(chunk.start <= start and end <= chunk.end for chunk in few) for start, end in spans)
        )  # fmt: skip
        assert len(held) == fewest
