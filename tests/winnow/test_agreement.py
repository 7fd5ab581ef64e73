import dataclasses

import pytest

from tests.winnow.test_frames import (
    BOOLEAN,
    CATEGORY,
    DATE,
    NUMBER,
    PEOPLE,
    TEXT,
    TWO_PROTESTS,
    cell,
    codebook,
    no_answer,
    of_entity,
    protests,
)
from winnow.agreement import EntityAgreement, Tally, compare, entities_of, entity_agreement, value_text
from winnow.exceptions import DefinitionError

BOOK = codebook(TEXT, NUMBER, DATE, BOOLEAN, CATEGORY, PEOPLE)


def verdict(variable, values, gold):
    """The one verdict on a cell with these values."""
    cells = [cell("d", variable, *values, status="found" if values else "not_stated")]
    tally = compare(cells, BOOK, {("d", variable): gold}).overall
    return next(name for name, count in vars(tally).items() if count)


@pytest.mark.parametrize(
    ("variable", "value", "gold"),
    [
        pytest.param("title", "Award Letter", "award  letter.", id="case, white space and punctuation"),
        pytest.param("title", "Co\u00adoperation “A–B”", 'cooperation "A-B"', id="soft hyphen, dashes and quotes"),
        pytest.param("title", "ﬁnal №5", "final No5", id="compatibility forms"),
        pytest.param("title", "…", "...", id="punctuation alone"),
        pytest.param("title", "A; B", "A; B", id="one value that holds the separator"),
        pytest.param("amount", 0.1 + 0.2, "0.3", id="rounding"),
        pytest.param("amount", 5, "5.00", id="whole number"),
        pytest.param("amount", 1.5e6, " 1500000 ", id="white space"),
        pytest.param("day", "2024-02-29", "2024-02-29", id="date"),
        pytest.param("day", "2024-02", "2024-02", id="partial date"),
        pytest.param("open", True, "Yes", id="yes"),
        pytest.param("open", False, "FALSE", id="false"),
        pytest.param("field", "law", "  LAW ", id="category by its name key"),
    ],
)
def test_equal_by_type(variable, value, gold):
    assert verdict(variable, [value], (gold,)) == "correct"


@pytest.mark.parametrize(
    ("variable", "value", "gold"),
    [
        pytest.param("title", "Award", "Award Letter", id="part"),
        pytest.param("title", "…", "!", id="punctuation alone still differs"),
        pytest.param("amount", 1.0, "1.00000001", id="beyond rounding"),
        pytest.param("amount", 5.0, "-5", id="sign"),
        pytest.param("amount", "many", "5", id="text from before the type changed"),
        pytest.param("day", "2024-02-29", "2024-02", id="partial date is another date"),
        pytest.param("open", True, "0", id="boolean"),
        pytest.param("field", "law", "art", id="category"),
    ],
)
def test_different_by_type(variable, value, gold):
    assert verdict(variable, [value], (gold,)) == "wrong"


@pytest.mark.parametrize(
    ("values", "gold", "expected"),
    [
        (["Ada", "Bo"], ("bo", "ADA"), "correct"),
        (["Ada", "Ada", "Bo"], ("Bo", "Ada"), "correct"),
        (["Ada; Bo"], ("Bo", "Ada"), "correct"),
        (["Ada"], ("Bo", "Ada"), "wrong"),
        (["Ada", "Bo", "Cy"], ("Bo", "Ada"), "wrong"),
    ],
)
def test_several_values_are_sets(values, gold, expected):
    assert verdict("people", values, gold) == expected


def test_numbers_in_sets_may_differ_by_rounding():
    book = codebook({"name": "n", "type": "number", "max_values": 3, "if_multiple_values": "all"})
    assert compare([cell("d", "n", 0.3, 10.0)], book, {("d", "n"): ("10", "0.30000000000000004")}).overall.correct == 1


@pytest.mark.parametrize(
    ("values", "gold", "expected"),
    [
        ([], ("A",), "missed"),
        (["A"], (), "invented"),
        (["A"], ("",), "invented"),
        ([], (), "correct_empty"),
        ([], (" ",), "correct_empty"),
    ],
)
def test_empty_cells(values, gold, expected):
    assert verdict("title", values, gold) == expected


def test_counts_per_variable_and_overall():
    cells = [cell("a", "title", "A"), cell("b", "title", "B"), cell("a", "amount", 1.0)]
    gold = {("a", "Amount"): ("1",), ("b", "title"): ("X",), ("a", "title"): ("A",)}
    found = compare(cells, BOOK, gold)
    assert dict(found.variables) == {"title": Tally(correct=1, wrong=1), "amount": Tally(correct=1)}
    assert list(found.variables) == ["title", "amount"]  # the codebook's order
    assert found.overall == Tally(correct=2, wrong=1)
    assert (found.overall.n, found.overall.accuracy) == (3, pytest.approx(2 / 3))


def test_nothing_compared_has_no_accuracy():
    found = compare([], BOOK, {("a", "title"): ("A",)})
    assert (found.overall.n, found.overall.accuracy, found.not_compared) == (0, None, 1)


@pytest.mark.parametrize("status", ["failed", "skipped"])
def test_failure_earns_no_credit(status):
    cells = [no_answer("a", "title", status), no_answer("b", "title", status)]
    found = compare(cells, BOOK, {("a", "title"): ("A",), ("b", "title"): ()})
    assert (found.overall, found.not_compared) == (Tally(missed=1), 1)


def test_cells_that_nobody_asked_are_not_compared_and_skipped_ones_are_empty():
    cells = [
        no_answer("a", "title", "not_asked", None),
        no_answer("b", "title", "not_asked", "depends on amount"),
        no_answer("c", "title", "not_asked", "depends on amount"),
    ]
    found = compare(cells, BOOK, {("a", "title"): ("A",), ("b", "title"): ("B",), ("c", "title"): ()})
    assert (found.overall, found.not_compared) == (Tally(missed=1, correct_empty=1), 1)


def test_documents_match_in_any_normal_form():
    assert compare([cell("Mu\u0308ller.pdf", "title", "A")], BOOK, {("Müller.pdf", "title"): ("A",)}).overall.n == 1


@pytest.mark.parametrize(
    ("gold", "message"),
    [
        ({("d", "colour"): ("red",)}, "'colour', which the codebook does not have"),
        ({("d", "amount"): ("about 5",)}, "of d, amount is not a number"),
        ({("d", "amount"): ("nan",)}, "of d, amount is not a number"),
        ({("d", "amount"): ("5", "6")}, "of d, amount is not a number"),
        ({("d", "open"): ("maybe",)}, "of d, open is not a boolean"),
    ],
)
def test_gold_that_cannot_be_right_is_refused(gold, message):
    with pytest.raises(DefinitionError, match=message):
        compare([], BOOK, gold)


def test_two_documents_of_one_name_cannot_be_told_apart():
    one, two = cell("d", "title", "A"), no_answer("d", "title")
    twin = type(two)(document="d", document_hash="other", variable="title", status="not_stated")
    with pytest.raises(DefinitionError, match="Two documents are called 'd'"):
        compare([one, twin], BOOK, {("d", "title"): ("A",)})
    assert compare([one, twin], BOOK, {}).overall.n == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5.0, "5"),
        (-0.0, "0"),
        (2.5, "2.5"),
        (1e15, "1000000000000000"),
        (1e20, "1e+20"),
        (True, "true"),
        ("x", "x"),
    ],
)
def test_value_text(value, text):
    assert value_text(value) == text


def test_entities_match_by_document_and_name():
    found = entities_of(TWO_PROTESTS)
    assert found == {("a", "Ulm"), ("a", "Bonn")}
    gold = {("a", " ULM"), ("a", "Köln"), ("b", "Bonn")}
    assert entity_agreement(found, gold) == EntityAgreement(matched=1, missed=2, invented=1)
    assert entity_agreement({("Mu\u0308ller.pdf", "ﬁrst  | 2024")}, {("Müller.pdf", "First | 2024")}).matched == 1


def test_recall_and_precision_of_entities():
    outcome = EntityAgreement(matched=3, missed=1, invented=2)
    assert (outcome.recall, outcome.precision) == (0.75, 0.6)
    nothing = entity_agreement(set(), set())
    assert (nothing.recall, nothing.precision) == (None, None)


def test_values_of_entities_are_compared_row_by_row():
    gold = {("a", "place", "ulm"): ("Ulm",), ("a", "place", "Bonn"): ("Köln",), ("a", "place", "Trier"): ("Trier",)}
    found = compare(TWO_PROTESTS, protests(NUMBER), gold)
    assert (found.overall, found.not_compared) == (Tally(correct=1, wrong=1), 1)


def test_two_rows_of_one_name_cannot_be_told_apart():
    one = of_entity(cell("a", "place", "Ulm"), "Ulm")
    twin = dataclasses.replace(one, entity="another id")
    with pytest.raises(DefinitionError, match="Two rows of 'a' are called 'Ulm'"):
        compare([one, twin], protests(), {("a", "place", "Ulm"): ("Ulm",)})
