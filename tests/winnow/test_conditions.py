import pytest

from winnow.codebook import Dependency, Variable
from winnow.coercion import CoercionError
from winnow.conditions import condition_problem, holds, layers, with_parents
from winnow.extractions import Extraction, FoundValue


def variable(name, *parents, **more):
    depends_on = [{"variable": parent} for parent in parents]
    return Variable.model_validate(
        {"name": name, "type": "text", "instructions": "i", "depends_on": depends_on, **more}
    )


def parent(kind):
    categories = [{"value": "no"}, {"value": "yearly", "label": "Every year"}] if kind == "category" else []
    return variable("parent", type=kind, categories=categories)


def dependency(condition, value=None):
    return Dependency(variable="parent", condition=condition, value=value)


def found(*values):
    return Extraction(status="found", values=tuple(FoundValue(value=value, raw=str(value)) for value in values))


NOTHING = Extraction(status="not_stated")
UNREADABLE = Extraction(status="found", values=(FoundValue(value=None, raw="about five", problem="no number"),))


@pytest.mark.parametrize(
    ("extraction", "held"),
    [
        pytest.param(found("Ohio"), True, id="a value"),
        pytest.param(found(False), True, id="false is a value"),
        pytest.param(found(0.0), True, id="zero is a value"),
        pytest.param(NOTHING, False, id="nothing"),
        pytest.param(UNREADABLE, False, id="a value that was not accepted"),
        pytest.param(Extraction(status="not_stated", default="Ohio"), True, id="a default"),
    ],
)
def test_is_found(extraction, held):
    assert holds(dependency("is_found"), parent("text"), extraction) is held


@pytest.mark.parametrize(
    ("kind", "condition", "value", "values", "held"),
    [
        ("text", "equals", "ohio ", ["Ohio"], True),
        ("text", "equals", "Ohio", ["Iowa"], False),
        ("text", "equals", 5, ["5"], True),
        ("text", "not_equals", "Ohio", ["Iowa"], True),
        ("text", "not_equals", "Ohio", ["OHIO"], False),
        ("text", "in", ["Ohio", "Iowa"], ["iowa"], True),
        ("text", "in", [], ["iowa"], False),
        ("category", "equals", "Every year", ["yearly"], True),
        ("category", "equals", "YEARLY", ["yearly"], True),
        ("category", "equals", False, ["no"], True),
        ("category", "in", [False, "yearly"], ["no"], True),
        ("category", "not_equals", False, ["yearly"], True),
        ("boolean", "equals", True, [True], True),
        ("boolean", "equals", "yes", [True], True),
        ("boolean", "equals", "no", [True], False),
        ("boolean", "not_equals", True, [False], True),
        ("number", "equals", 30, [30.0], True),
        ("number", "equals", "1,250", [1250.0], True),
        ("number", "greater_than", 30, [30.0], False),
        ("number", "greater_than", 30, [30.5], True),
        ("number", "at_least", 30, [30.0], True),
        ("number", "less_than", 30, [30.0], False),
        ("number", "less_than", 30, [-1.0], True),
        ("number", "at_most", 30.0, [30.0], True),
        ("date", "equals", "2006-05-14", ["2006-05"], True),
        ("date", "equals", "14 May 2006", ["2006-05-14"], True),
        ("date", "equals", "2006-05", ["2006-06-01"], False),
        ("date", "not_equals", "2006-05", ["2006-05-14"], False),
        ("date", "greater_than", "2006-05", ["2006-05-14"], False),
        ("date", "at_least", "2006-05", ["2006-05-14"], True),
        ("date", "at_least", 2006, ["2006-05-14"], True),
        ("date", "greater_than", 2006, ["2007"], True),
        ("date", "less_than", "2006-05-14", ["2006-04"], True),
        ("date", "less_than", "2006-05-14", ["2006"], False),
        ("date", "at_most", "2006-05-14", ["2006"], True),
    ],
)
def test_comparisons_read_the_value_as_the_parents_type(kind, condition, value, values, held):
    assert holds(dependency(condition, value), parent(kind), found(*values)) is held


def test_one_of_several_values_is_enough():
    assert holds(dependency("greater_than", 30), parent("number"), found(1.0, 31.0))
    assert not holds(dependency("greater_than", 30), parent("number"), found(1.0, 2.0))


@pytest.mark.parametrize(("condition", "value"), [("equals", "x"), ("not_equals", "x"), ("in", ["x"])])
def test_without_a_value_no_condition_holds(condition, value):
    assert not holds(dependency(condition, value), parent("text"), NOTHING)


@pytest.mark.parametrize(
    ("kind", "condition", "value", "problem"),
    [
        pytest.param(
            "text",
            "at_least",
            "x",
            "compares 'parent' with at_least, but only numbers and dates have an order; use equals, not_equals or in",
            id="order of texts",
        ),
        pytest.param(
            "boolean",
            "less_than",
            True,
            "compares 'parent' with less_than, but only numbers and dates have an order; use equals, not_equals or in",
            id="order of truths",
        ),
        pytest.param(
            "category",
            "equals",
            "monthly",
            "compares 'parent' (category) with 'monthly', which is not one of the categories: no, yearly; "
            "correct the value",
            id="no such category",
        ),
        pytest.param(
            "boolean",
            "equals",
            "perhaps",
            "compares 'parent' (boolean) with 'perhaps', which is neither true nor false; correct the value",
            id="neither true nor false",
        ),
        pytest.param(
            "text",
            "equals",
            True,
            "compares 'parent' (text) with True, which is true or false; put it in quotes if it is meant as text; "
            "correct the value",
            id="truth of a text",
        ),
        pytest.param(
            "text",
            "equals",
            {"a": 1},
            "compares 'parent' (text) with {'a': 1}, which is not a single text, number, true or false; "
            "correct the value",
            id="mapping",
        ),
    ],
)
def test_conditions_that_can_never_be_judged(kind, condition, value, problem):
    assert condition_problem(dependency(condition, value), parent(kind)) == problem


@pytest.mark.parametrize(("kind", "value"), [("number", "many"), ("date", "soon"), ("number", True)])
def test_values_that_are_not_of_the_parents_type(kind, value):
    wrong = dependency("at_least", value)
    assert f"compares 'parent' ({kind}) with {value!r}, which " in condition_problem(wrong, parent(kind))
    with pytest.raises(CoercionError):
        holds(wrong, parent(kind), found("2006" if kind == "date" else 1.0))


def test_every_entry_of_in_is_read():
    assert "with 'many'" in condition_problem(dependency("in", [1, "many"]), parent("number"))


def test_a_condition_that_can_be_judged():
    assert condition_problem(dependency("at_least", "2006-05"), parent("date")) is None
    assert condition_problem(dependency("is_found"), parent("text")) is None


def names(variables):
    return [one.name for one in variables]


def test_layers_put_parents_first_and_keep_the_order():
    book = [variable("d", "B"), variable("a"), variable("b", "c"), variable("c"), variable("e", "a", "elsewhere")]
    assert [names(layer) for layer in layers(book)] == [["a", "c"], ["b", "e"], ["d"]]


def test_layers_of_nothing():
    assert layers([]) == []


def test_a_circle_ends_in_an_error():
    with pytest.raises(ValueError, match="cycle"):
        layers([variable("a", "b"), variable("b", "a")])


@pytest.mark.timeout(20)
def test_a_long_chain():
    chain = [variable(f"v{number}", f"v{number + 1}") for number in range(3000)] + [variable("v3000")]
    assert names(layer[0] for layer in layers(chain)) == [f"v{number}" for number in range(3000, -1, -1)]
    assert with_parents(["v0"], chain) == chain


def test_chosen_variables_come_with_all_that_they_depend_on():
    book = [variable("d", "b"), variable("a"), variable("b", "C"), variable("c"), variable("e", "a", "elsewhere")]
    assert names(with_parents([" D "], book)) == ["d", "b", "c"]
    assert names(with_parents(["e", "c"], book)) == ["a", "c", "e"]
    assert with_parents(["unknown"], book) == []
