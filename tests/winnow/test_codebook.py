import itertools
import textwrap
import time

import pytest
import yaml
from pydantic import ValidationError

from winnow.codebook import Codebook, EntityUnit, Variable, name_key, pattern_adapter
from winnow.exceptions import CodebookError
from winnow.parse_codebook import parse_codebook


def variable(**more):
    return {"name": "v", "type": "text", "instructions": "i", **more}


def book(*variables, **more):
    return {"project": "p", "variables": list(variables), **more}


def problems(data, lines=None):
    with pytest.raises(CodebookError) as caught:
        parse_codebook(data, "c.yaml", lines)
    return caught.value.problems


CONTRACTS = yaml.safe_load(
    textwrap.dedent("""
    project: contracts
    description: Terms of contracts filed with a regulator.
    domain: commercial contracts
    language: English
    unit_of_observation: document

    variables:
      - name: parties
        label: Parties
        type: text
        instructions: The full legal names of all who sign.
        max_values: 10
        if_multiple_values: all
      - name: expiration_date
        type: text
        instructions: The end of the first term, in ISO form, or "perpetual".
      - name: notice_period
        type: number
        unit: days
        instructions: |
          The notice to stop the renewal.

          As a number.
        validation: {min: 0, max: 3650}
        default: 0
        depends_on:
          - variable: RENEWAL_TERM
      - name: renewal_term
        type: category
        instructions: How the contract is renewed.
        categories:
          - {value: none}
          - {value: yearly, label: Every year, description: For one year each time.}
          - {value: 5}
        examples: [yearly, 5]
      - name: governing_law
        type: text
        instructions: Whose law governs.
        validation:
          pattern: "^[A-Z][A-Za-z .,'&;()-]+$"
      - name: insurance
        type: boolean
        instructions: Must a party hold insurance?
        confidence_threshold: 0.7
        depends_on:
          - {variable: governing_law, condition: in, value: [Ohio, Iowa]}
          - {variable: notice_period, condition: at_least, value: 30}
    """)
)


def test_a_codebook_as_people_write_it():
    codebook = parse_codebook(CONTRACTS)
    assert [one.name for one in codebook.variables] == [
        "parties", "expiration_date", "notice_period", "renewal_term", "governing_law", "insurance",
    ]  # fmt: skip
    parties, expiration, notice, renewal, law, insurance = codebook.variables
    assert (parties.max_values, parties.if_multiple_values, parties.title) == (10, "all", "Parties")
    assert (expiration.title, expiration.confidence_threshold, expiration.max_values) == ("expiration_date", 0.5, 1)
    assert (notice.validation.min, notice.default, notice.unit) == (0.0, 0.0, "days")
    assert notice.instructions == "The notice to stop the renewal.\n\nAs a number."
    assert notice.depends_on[0].condition == "is_found"
    assert [category.value for category in renewal.categories] == ["none", "yearly", "5"]
    assert renewal.examples == ("yearly", "5")
    assert law.validation.pattern == "^[A-Z][A-Za-z .,'&;()-]+$"
    assert insurance.depends_on[0].value == ["Ohio", "Iowa"]
    assert codebook.unit_of_observation == "document"


def test_a_codebook_survives_being_stored():
    codebook = parse_codebook(CONTRACTS)
    assert Codebook.model_validate_json(codebook.model_dump_json()) == codebook
    assert parse_codebook(codebook.model_dump()) == codebook


def test_the_least_codebook():
    codebook = parse_codebook({"project": "Straße 2.0"})
    assert (codebook.variables, codebook.unit_of_observation) == ((), "document")


def test_a_codebook_cannot_be_changed():
    codebook = parse_codebook(book(variable()))
    with pytest.raises(ValidationError):
        codebook.variables[0].name = "w"


@pytest.mark.parametrize("name", ["Notice_Period", " notice_period ", "ＮＯＴＩＣＥ_period"])
def test_variable_by_any_spelling_of_its_name(name):
    assert parse_codebook(CONTRACTS).variable(name).name == "notice_period"


def test_no_such_variable():
    assert parse_codebook(CONTRACTS).variable("notice") is None


def test_name_key():
    assert name_key("  Ｓtraße\n No\u00a01 ") == "strasse no 1"


@pytest.mark.parametrize(
    ("entity", "identified"),
    [
        pytest.param({"entity": "protest", "definition": "One gathering.", "identified_by": ["V"]}, ("V",), id="by"),
        pytest.param({"entity": "protest", "definition": "One gathering."}, (), id="by nothing"),
    ],
)
def test_a_row_may_be_an_entity(entity, identified):
    unit = parse_codebook(book(variable(), unit_of_observation=entity)).unit_of_observation
    assert unit == EntityUnit(entity="protest", definition="One gathering.", identified_by=identified)


UNIT = (
    "`unit_of_observation` must be `document`, or an entity with its definition "
    "(unit_of_observation: {entity: ..., definition: ...})"
)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        pytest.param(None, "it must be a mapping with `project` and `variables`", id="nothing"),
        pytest.param([1], "it must be a mapping with `project` and `variables`", id="list"),
        pytest.param({}, "`project` is missing; add it", id="no project"),
        pytest.param({"project": " "}, "`project` is empty; fill it in", id="blank project"),
        pytest.param({"project": 5}, "`project` must be text; put it in quotes", id="project is a number"),
        pytest.param(
            {"project": "../etc"},
            "`project` may hold letters, digits, spaces, dots, dashes and underscores, and starts with a letter or "
            "digit",
            id="project is a path",
        ),
        pytest.param({"project": "p" * 101}, "`project` has more than 100 characters; shorten it", id="long"),
        pytest.param(
            {"project": "p", "title": 1}, "`title` is not a known key; remove it or correct its spelling", id="key"
        ),
        pytest.param({"project": "p", "variables": {}}, "`variables` must be a list", id="variables as a mapping"),
        pytest.param(book(None), "variable number 1 must be a mapping", id="empty variable"),
        pytest.param(book("v"), "variable number 1 must be a mapping", id="variable is a text"),
        pytest.param(
            book({**variable(), 1: 2}), "variable 'v': `1` is wrong: Keys should be strings", id="key is a number"
        ),
        pytest.param(
            book(variable(lable="x")),
            "variable 'v': `lable` is not a known key; remove it or correct its spelling",
            id="misspelled key",
        ),
        pytest.param(
            book(variable(validation={"minimum": 1})),
            "variable 'v': `validation.minimum` is not a known key; remove it or correct its spelling",
            id="misspelled key within",
        ),
        pytest.param(
            book(variable(type="int")),
            "variable 'v': `type` is 'int', which is not a type; use 'text', 'number', 'date', 'category' or 'boolean'",
            id="type",
        ),
        pytest.param(
            book({"name": "v", "type": "text"}), "variable 'v': `instructions` is missing; add it", id="no instructions"
        ),
        pytest.param(
            book(variable(instructions="i" * 20_001)),
            "variable 'v': `instructions` has more than 20000 characters; shorten it",
            id="long instructions",
        ),
        pytest.param(
            book(variable(instructions="a\x00b")),
            "variable 'v': `instructions` has a control character; take it out",
            id="control character",
        ),
        pytest.param(
            book(variable(instructions="a\ud800b")),
            "variable 'v': `instructions` has a control character; take it out",
            id="half a character",
        ),
        pytest.param(
            book(variable(name="a\nb")),
            "variable 'a\\nb': `name` must be one line without tabs",
            id="name of two lines",
        ),
        pytest.param(
            book(variable(confidence_threshold=1.1)),
            "variable 'v': `confidence_threshold` is wrong: Input should be less than or equal to 1",
            id="threshold",
        ),
        pytest.param(
            book(variable(confidence_threshold=float("nan"))),
            "variable 'v': `confidence_threshold` is wrong: Input should be less than or equal to 1",
            id="threshold is not a number",
        ),
        pytest.param(
            book(variable(max_values=0)),
            "variable 'v': `max_values` is wrong: Input should be greater than or equal to 1",
            id="no values",
        ),
        pytest.param(
            book(variable(max_values=1001)),
            "variable 'v': `max_values` is wrong: Input should be less than or equal to 1000",
            id="too many values",
        ),
        pytest.param(
            book(variable(if_multiple_values="all")),
            "variable 'v' keeps all values, but `max_values` is 1; raise it",
            id="all of one",
        ),
        pytest.param(
            book(variable(type="category")),
            "variable 'v' is a category without `categories`; list its values",
            id="none",
        ),
        pytest.param(
            book(variable(categories=[{"value": "a"}])),
            "variable 'v' has `categories`, but its type is not category; change the type or remove them",
            id="categories of a text",
        ),
        pytest.param(
            book(variable(type="category", categories=["a"])),
            "variable 'v': `categories.0` must be a mapping",
            id="bare",
        ),
        pytest.param(
            book(variable(type="category", categories=[{"value": "Straße"}, {"value": "STRASSE"}])),
            "variable 'v' has a category twice: STRASSE",
            id="category twice",
        ),
        pytest.param(
            book(variable(type="category", categories=[{"value": "a", "label": "X"}, {"value": "b", "label": "x"}])),
            "variable 'v' has a category twice: x",
            id="label twice",
        ),
        pytest.param(
            book(variable(validation={"min": 1})),
            "variable 'v' has `min` or `max`, which only numbers and dates can have",
            id="limit of a text",
        ),
        pytest.param(
            book(variable(type="number", validation={"pattern": "a"})),
            "variable 'v' has a `pattern`, which only text can have",
            id="pattern of a number",
        ),
        pytest.param(
            book(variable(type="number", validation={"min": "five"})),
            "variable 'v' has a limit that is not a number",
            id="limit in words",
        ),
        pytest.param(
            book(variable(type="number", validation={"min": [1]})),
            "variable 'v': `validation.min` must be a single text, number, true or false",
            id="limit is a list",
        ),
        pytest.param(
            book(variable(type="number", validation={"max": True})),
            "variable 'v': `validation.max` must be a number or an ISO date",
            id="limit is a boolean",
        ),
        pytest.param(
            book(variable(type="number", validation={"max": float("inf")})),
            "variable 'v': `validation.max` must be a finite number",
            id="limit without an end",
        ),
        pytest.param(
            book(variable(type="date", validation={"min": 2024})),
            "variable 'v' has a limit that is not an ISO date such as 2024-01-31",
            id="date limit is a number",
        ),
        pytest.param(
            book(variable(type="date", validation={"min": "20240131"})),
            "variable 'v' has a limit that is not an ISO date such as 2024-01-31",
            id="date limit in another ISO form",
        ),
        pytest.param(
            book(variable(type="date", validation={"max": "2023-02-29"})),
            "variable 'v' has a limit that is not an ISO date such as 2024-01-31",
            id="no such day",
        ),
        pytest.param(
            book(variable(type="number", validation={"min": 2, "max": 1})),
            "variable 'v' has a `min` above its `max`; no value can pass",
            id="no number can pass",
        ),
        pytest.param(
            book(variable(type="date", validation={"min": "2024-01-02", "max": "2024-01-01"})),
            "variable 'v' has a `min` above its `max`; no value can pass",
            id="no date can pass",
        ),
        pytest.param(
            book(variable(validation={"allowed": []})),
            "variable 'v': `validation.allowed` is empty; fill it in",
            id="nothing allowed",
        ),
        pytest.param(
            book(variable(validation={"allowed": "a, b"})),
            "variable 'v': `validation.allowed` must be a list",
            id="allowed is a text",
        ),
        pytest.param(
            book(variable(default=0)),
            "variable 'v' needs its `default` as text; put it in quotes",
            id="default of a text",
        ),
        pytest.param(
            book(variable(type="number", default="0")),
            "variable 'v' needs its `default` as a number",
            id="default of a number",
        ),
        pytest.param(
            book(variable(type="boolean", default="no")),
            "variable 'v' needs its `default` as true or false",
            id="default of a boolean",
        ),
        pytest.param(
            book(variable(type="date", default="31.01.2024")),
            "variable 'v' has a `default` that is not an ISO date such as 2024-01-31",
            id="default of a date",
        ),
        pytest.param(
            book(variable(type="category", categories=[{"value": "a", "label": "b"}], default="b")),
            "variable 'v' has a `default` that is not one of its categories; add it to them",
            id="default of a category",
        ),
        pytest.param(
            book(variable(type="number", validation={"min": 1, "max": 5}, default=0)),
            "variable 'v' has a `default` that is below the minimum, 1.0",
            id="default below",
        ),
        pytest.param(
            book(variable(type="number", validation={"allowed": [1, 2]}, default=3)),
            "variable 'v' has a `default` that is not one of the allowed values: 1, 2",
            id="default that is not allowed",
        ),
        pytest.param(
            book(variable(type="date", validation={"max": "2024-01-31"}, default="2024-02-01")),
            "variable 'v' has a `default` that is above the maximum, 2024-01-31",
            id="default after",
        ),
        pytest.param(
            book(variable(default=[1])),
            "variable 'v': `default` must be a single text, number, true or false",
            id="default is a list",
        ),
        pytest.param(
            book(variable(name="w"), variable(depends_on=[{"variable": "w", "condition": "in", "value": "x"}])),
            "variable 'v': `depends_on.0` needs a list as its `value`, because its condition is `in`",
            id="in a text",
        ),
        pytest.param(
            book(variable(name="w"), variable(depends_on=[{"variable": "w", "condition": "equals"}])),
            "variable 'v': `depends_on.0` needs a `value` to compare with",
            id="equals nothing",
        ),
        pytest.param(
            book(variable(name="w"), variable(depends_on=[{"variable": "w", "value": 1}])),
            "variable 'v': `depends_on.0` has a value, but is_found takes none; remove `value`",
            id="found, with a value",
        ),
        pytest.param(
            book(variable(depends_on=[{"variable": "w"}])),
            "variable 'v' depends on 'w', which is not defined; add it",
            id="depends on nothing",
        ),
        pytest.param(
            book(
                variable(name="w", type="number"),
                variable(depends_on=[{"variable": "W", "condition": "at_least", "value": "many"}]),
            ),
            "variable 'v' compares 'w' (number) with 'many', which holds no figure; correct the value",
            id="at least no number",
        ),
        pytest.param(
            book(
                variable(name="w", type="date"),
                variable(depends_on=[{"variable": "w"}, {"variable": "w", "condition": "in", "value": ["2006", "x"]}]),
            ),
            "variable 'v' compares 'w' (date) with 'x', which cannot be read as a date; the form is YYYY-MM-DD, "
            "YYYY-MM or YYYY; correct the value",
            id="in no date",
        ),
        pytest.param(
            book(variable(name="w"), variable(depends_on=[{"variable": "w", "condition": "at_most", "value": "x"}])),
            "variable 'v' compares 'w' with at_most, but only numbers and dates have an order; "
            "use equals, not_equals or in",
            id="order of texts",
        ),
        pytest.param(
            book(variable(type="number"), checks=[{"expression": "v > 1"}, {"expression": "w > 1"}]),
            "check 'w > 1' names 'w', which is not a variable; add it, or put quotes around it if it is text",
            id="check of nothing",
        ),
        pytest.param(
            book(variable(name="start date", type="date"), checks=[{"expression": "start_dat > '2024-01-01'"}]),
            "check \"start_dat > '2024-01-01'\" names 'start_dat', which is not a variable; did you mean start_date?",
            id="misspelt name in a check",
        ),
        pytest.param(
            book(variable(), checks=[{"expression": "v >"}]),
            "check 'v >' is not an expression: invalid syntax at its end",
            id="check without an end",
        ),
        pytest.param(
            book(variable(), checks=[{"expression": "v > 1"}]),
            "check 'v > 1' compares a text with a number",
            id="check of two types",
        ),
        pytest.param(
            book(variable(), checks=[{"expression": "v.upper() == 'X'"}]),
            "check \"v.upper() == 'X'\" calls something without a name; the functions are is_missing, abs, day, len, "
            "max, min, month, round, sum, year",
            id="check that calls a method",
        ),
        pytest.param(
            book(variable(), checks=["v == 'x'"]),
            "`checks.0` must be a mapping",
            id="check is a text",
        ),
        pytest.param(
            book(variable(type="nmber"), checks=[{"expression": "v > 1"}]),
            "variable 'v': `type` is 'nmber', which is not a type; "
            "use 'text', 'number', 'date', 'category' or 'boolean'",
            id="check of a variable with another fault",
        ),
        pytest.param(book(unit_of_observation="page"), UNIT, id="unit"),
        pytest.param(book(unit_of_observation=5), UNIT, id="unit is a number"),
        pytest.param(
            book(unit_of_observation={"entity": "protest"}),
            "`unit_of_observation.definition` is missing; add it",
            id="entity without a definition",
        ),
        pytest.param(
            book(unit_of_observation={"entity": "e", "definition": "d", "by": []}),
            "`unit_of_observation.by` is not a known key; remove it or correct its spelling",
            id="unknown key of an entity",
        ),
        pytest.param(
            book(variable(), unit_of_observation={"entity": "e", "definition": "d", "identified_by": ["v", "w"]}),
            "the entity is identified by 'w', which is not a variable; add it",
            id="entity identified by nothing",
        ),
    ],
)
def test_one_problem(data, found):
    assert problems(data) == [found]


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"instructions": "a\tb\r\nc"}, id="tab and CRLF"),
        pytest.param({"name": "select"}, id="word of SQL"),
        pytest.param({"name": '"; drop table variable; --'}, id="injection"),
        pytest.param({"name": "{x.__class__}"}, id="template"),
        pytest.param({"name": "变量"}, id="Chinese"),
        pytest.param({"name": "n" * 100}, id="100 characters"),
        pytest.param({"type": "number", "default": 0}, id="default zero"),
        pytest.param({"type": "boolean", "default": False}, id="default false"),
        pytest.param({"type": "date", "default": "2024-01-31"}, id="default date"),
        pytest.param({"type": "category", "categories": [{"value": "a"}], "default": "a"}, id="default category"),
        pytest.param({"type": "number", "validation": {"min": 1}, "default": 1}, id="default at the minimum"),
        pytest.param({"validation": {"allowed": ["Red"]}, "default": "none"}, id="default text may be another"),
        pytest.param({"confidence_threshold": 0}, id="threshold zero"),
        pytest.param(
            {"type": "category", "categories": [{"value": True}, {"value": 1.5}]}, id="values that YAML reads"
        ),
        pytest.param({"if_multiple_values": "join"}, id="joined"),
    ],
)
def test_accepted(more):
    assert isinstance(parse_codebook(book(variable(**more))).variables[0], Variable)


def test_every_problem_at_once_with_its_line():
    data = {
        "project": "",
        "colour": "red",
        "variables": [
            variable(name=""),
            variable(name="a", type="x", instructions="", depends_on=[{"variable": "nowhere"}]),
            {"name": "Ａ"},
            variable(name="b", depends_on=[{"variable": "c"}]),
            variable(name="C", depends_on=[{"variable": "b"}], validation={"pattern": "(?=x)"}),
        ],
    }
    lines = {
        (): 1, ("project",): 1, ("colour",): 2, ("variables",): 3, ("variables", 0): 4, ("variables", 1): 7,
        ("variables", 1, "type"): 8, ("variables", 1, "instructions"): 9, ("variables", 1, "depends_on", 0): 11,
        ("variables", 2): 12, ("variables", 2, "name"): 12, ("variables", 3): 13, ("variables", 3, "depends_on"): 16,
        ("variables", 4): 18, ("variables", 4, "validation", "pattern"): 23,
    }  # fmt: skip
    assert problems(data, lines) == [
        "line 1: `project` is empty; fill it in",
        "line 2: `colour` is not a known key; remove it or correct its spelling",
        "line 4: variable number 1: `name` is empty; fill it in",
        "line 8: variable 'a': `type` is 'x', which is not a type; "
        "use 'text', 'number', 'date', 'category' or 'boolean'",
        "line 9: variable 'a': `instructions` is empty; fill it in",
        "line 11: variable 'a' depends on 'nowhere', which is not defined; add it",
        "line 12: variable 'Ａ': `type` is missing; add it",
        "line 12: variable 'Ａ': `instructions` is missing; add it",
        "line 12: variable 'Ａ' stands twice (the same as 'a' but for case or character forms); rename one",
        "line 16: variables depend on each other in a circle: b -> C -> b; remove one dependency",
        "line 23: variable 'C': `validation.pattern` is not a pattern that can be used (look-around, including "
        "look-ahead and look-behind, is not supported); look-around and back-references are not available",
    ]


def test_conditions_and_checks_have_their_lines():
    data = book(
        variable(name="w", type="number"),
        variable(depends_on=[{"variable": "w", "condition": "equals", "value": "x"}]),
        checks=[{"expression": "w > 0"}, {"expression": "w > v", "message": "Too small."}],
    )
    lines = {
        ("variables", 1): 5,
        ("variables", 1, "depends_on", 0): 8,
        ("checks", 1): 12,
        ("checks", 1, "expression"): 12,
    }
    assert problems(data, lines) == [
        "line 8: variable 'v' compares 'w' (number) with 'x', which holds no figure; correct the value",
        "line 12: check 'w > v' compares a number with a text",
    ]


def test_conditions_and_checks_that_fit():
    checked = book(
        variable(name="Start Date", type="date"),
        variable(depends_on=[{"variable": "start date", "condition": "at_least", "value": 2006}]),
        checks=[{"expression": "is_missing(v) or year(start_date) >= 2006", "message": "v is for later years."}],
    )
    assert parse_codebook(checked).checks[0].message == "v is for later years."


def test_the_error_says_it_all_in_one_text():
    with pytest.raises(CodebookError) as caught:
        parse_codebook({"colour": 1}, "c.yaml")
    assert str(caught.value) == (
        "c.yaml has 2 problems:\n"
        "  `project` is missing; add it\n"
        "  `colour` is not a known key; remove it or correct its spelling"
    )


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        pytest.param("amount", "amount", "", id="the same"),
        pytest.param("amount", "Amount", " (the same as 'amount' but for case or character forms)", id="case"),
        pytest.param("Straße", "STRASSE", " (the same as 'Straße' but for case or character forms)", id="case folding"),
        pytest.param("fi", "ﬁ", " (the same as 'fi' but for case or character forms)", id="ligature"),
        pytest.param("é", "e\u0301", " (the same as 'é' but for case or character forms)", id="decomposed"),
        pytest.param("a b", "a  b", " (the same as 'a b' but for case or character forms)", id="white space"),
    ],
)
def test_names_stand_once(first, second, same):
    found = problems(book(variable(name=first), variable(name=second)))
    assert found == [f"variable {second!r} stands twice{same}; rename one"]


@pytest.mark.parametrize(
    ("needs", "circles"),
    [
        pytest.param({"A": ["a"]}, ["A -> A"], id="itself"),
        pytest.param({"a": ["b"], "b": ["a"]}, ["a -> b -> a"], id="two"),
        pytest.param({"a": ["b"], "b": ["c"], "c": ["b"]}, ["b -> c -> b"], id="a way into a circle"),
        pytest.param(
            {"a": ["b"], "b": ["a"], "c": ["d"], "d": ["c"]}, ["a -> b -> a", "c -> d -> c"], id="two circles"
        ),
        pytest.param({"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []}, [], id="diamond"),
    ],
)
def test_circles_are_named(needs, circles):
    data = book(
        *(variable(name=name, depends_on=[{"variable": one} for one in parents]) for name, parents in needs.items())
    )
    if not circles:
        assert len(parse_codebook(data).variables) == len(needs)
        return
    assert problems(data) == [
        f"variables depend on each other in a circle: {circle}; remove one dependency" for circle in circles
    ]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("closed", [False, True])
def test_a_long_chain_of_dependencies(closed):
    chain = [variable(name=f"v{number}", depends_on=[{"variable": f"v{number + 1}"}]) for number in range(999)]
    data = book(*chain, variable(name="v999", depends_on=[{"variable": "v0"}] if closed else []))
    if closed:
        (found,) = problems(data)
        assert found.startswith("variables depend on each other in a circle: v0 -> v1 -> v2 -> ")
        assert found.endswith(" -> v999 -> v0; remove one dependency")
    else:
        assert len(parse_codebook(data).variables) == 1000


@pytest.mark.timeout(20)
def test_many_diamonds_take_no_longer_than_their_number():
    layers = [[f"v{layer}-{number}" for number in range(3)] for layer in range(100)]
    data = book(*(variable(name=name) for name in layers[0]))
    for above, below in itertools.pairwise(layers):
        data["variables"] += [variable(name=name, depends_on=[{"variable": one} for one in above]) for name in below]
    assert len(parse_codebook(data).variables) == 300


@pytest.mark.parametrize(
    ("pattern", "detail"),
    [
        pytest.param("(a", "unclosed group", id="open group"),
        pytest.param("*", "repetition operator missing expression", id="nothing to repeat"),
        pytest.param("a(?=b)", "look-around, including look-ahead and look-behind, is not supported", id="look-ahead"),
        pytest.param(
            "(?<!a)b", "look-around, including look-ahead and look-behind, is not supported", id="look-behind"
        ),
        pytest.param(r"(a)\1", "backreferences are not supported", id="back-reference"),
    ],
)
def test_patterns_that_cannot_be_used(pattern, detail):
    assert problems(book(variable(validation={"pattern": pattern}))) == [
        f"variable 'v': `validation.pattern` is not a pattern that can be used ({detail}); "
        "look-around and back-references are not available"
    ]


def test_a_pattern_too_large_to_build():
    (found,) = problems(book(variable(validation={"pattern": "((a{100}){100}){100}"})))
    assert "Compiled regex exceeds size limit" in found


@pytest.mark.timeout(20)
def test_no_pattern_hangs():
    codebook = parse_codebook(book(variable(validation={"pattern": "^(a+)+$"})))
    adapter = pattern_adapter(codebook.variables[0].validation.pattern)
    began = time.monotonic()
    with pytest.raises(ValidationError):
        adapter.validate_python("a" * 50_000 + "!")
    assert time.monotonic() - began < 1
