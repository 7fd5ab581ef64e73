"""The unit of observation: its prompt has versions, as those of variables have."""

import pytest

from db import projects
from tests import factories
from tests.db.test_projects import apply, prompts
from tests.factories import UNIT, variable
from winnow.entities import unit_variable
from winnow.prompts import unit_prompts


@pytest.fixture
def protests(connection):
    return factories.project(connection, "place", "size", unit_of_observation=UNIT)


def unit(connection):
    return projects.unit_prompt(connection, projects.get(connection, "Grants").id)


def test_a_unit_has_a_prompt_that_is_none_of_the_variables(connection, protests):
    prompt, asked = unit(connection), protests.codebook.unit_of_observation
    assert (prompt.variable, prompt.version) == (unit_variable(asked), 1)
    assert all(text in prompt.text for text in unit_prompts(asked, protests.codebook))
    assert prompts(connection) == [("place", 1), ("size", 1)]


def test_a_project_of_documents_has_none(connection):
    factories.project(connection, "place")
    assert unit(connection) is None


def test_the_same_unit_twice_changes_nothing(connection, protests):
    before = unit(connection)
    applied, changes = apply(connection, "place", "size", unit_of_observation=UNIT)
    assert (applied.change, changes["protest"]) == ("unchanged", ("unchanged", 1, ()))
    assert unit(connection) == before


def test_another_definition_is_the_next_version(connection, protests):
    _, changes = apply(connection, "place", "size", unit_of_observation=UNIT | {"definition": "A march."})
    assert changes["protest"] == ("changed", 2, ("instructions",))
    assert "A march." in unit(connection).text


def test_a_variable_that_identifies_it_changes_it_with_its_own_instructions(connection, protests):
    place = variable("place", instructions="The town.")
    _, changes = apply(connection, place, "size", unit_of_observation=UNIT)
    assert changes == {
        "place": ("changed", 2, ("instructions",)), "size": ("unchanged", 1, ()), "protest": ("changed", 2, ()),
    }  # fmt: skip
    assert "The town." in unit(connection).text


def test_another_variable_does_not_change_it(connection, protests):
    size = variable("size", instructions="How many came.")
    _, changes = apply(connection, "place", size, unit_of_observation=UNIT)
    assert changes["protest"] == ("unchanged", 1, ())


def test_a_unit_leaves_where_rows_become_documents_and_comes_back_as_it_was(connection, protests):
    before = unit(connection)
    _, changes = apply(connection, "place", "size")
    assert changes["protest"] == ("removed", 1, ())
    assert unit(connection) is None
    _, changes = apply(connection, "place", "size", unit_of_observation=UNIT)
    assert changes["protest"] == ("added", 1, ())
    assert unit(connection) == before


def test_another_entity_is_another_unit(connection, protests):
    before = unit(connection)
    _, changes = apply(connection, "place", "size", unit_of_observation=UNIT | {"entity": "strike"})
    assert (changes["strike"], changes["protest"]) == (("added", 1, ()), ("removed", 1, ()))
    assert unit(connection).variable.name == "strike"
    assert projects.prompt(connection, before.id) == before


def test_a_unit_and_a_variable_of_one_name_are_two(connection):
    factories.project(connection, "place", "protest", unit_of_observation=UNIT)
    assert prompts(connection) == [("place", 1), ("protest", 1)]
    assert unit(connection).variable.name == "protest"
    changed = variable("protest", instructions="What it was called.")
    factories.project(connection, "place", changed, unit_of_observation=UNIT)
    assert prompts(connection) == [("place", 1), ("protest", 2)]
    assert unit(connection).version == 1


def test_units_of_projects_are_their_own(connection, protests):
    other = factories.project(connection, "title", name="Other")
    assert projects.unit_prompt(connection, other.id) is None
