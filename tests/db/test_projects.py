import threading

import pytest

from db import projects
from db.session import transaction
from tests import factories
from tests.factories import codebook, variable
from winnow.exceptions import UnknownProjectError
from winnow.prompts import variable_prompt


def apply(connection, *variables, **more):
    """What applying a codebook did, and to each variable: (change, prompt version, fields)."""
    applied = projects.apply_codebook(connection, codebook(*variables, **more))
    return applied, {change.name: (change.change, change.prompt_version, change.fields) for change in applied.variables}


def prompts(connection, name="Grants"):
    """The names and versions of the project's prompts now, in their order."""
    listed = projects.prompts(connection, projects.get(connection, name).id)
    return [(prompt.variable.name, prompt.version) for prompt in listed]


def test_a_new_project_has_its_codebook_and_first_prompts(connection):
    applied, changes = apply(connection, "title", "donor")
    assert (applied.project, applied.change, applied.version) == ("Grants", "created", 1)
    assert changes == {"title": ("added", 1, ()), "donor": ("added", 1, ())}
    stored = projects.get(connection, "Grants")
    assert (stored.name, stored.version, stored.codebook) == ("Grants", 1, codebook("title", "donor"))


def test_a_prompt_is_the_variable_and_its_text(connection):
    rich = variable(
        "field", type="category", label="Fëld — 日本", confidence_threshold=0.25, default="law",
        categories=[{"value": "law", "label": "Law", "description": "All of it"}, {"value": "art"}],
        max_values=3, if_multiple_values="all", examples=["law"],
        depends_on=[{"variable": "title", "condition": "in", "value": ["a", "b ü"]}],
    )  # fmt: skip
    wanted = codebook("title", rich).variables[1]
    project = factories.project(connection, "title", rich)
    stored = projects.prompts(connection, project.id)[1]
    assert (stored.variable, stored.text, stored.version) == (wanted, variable_prompt(wanted), 1)
    assert projects.prompt(connection, stored.id) == stored


def test_a_codebook_applied_twice_changes_nothing(connection):
    apply(connection, "title", "donor", domain="grants")
    before = projects.get(connection, "Grants"), prompts(connection)
    applied, changes = apply(connection, "title", "donor", domain="grants")
    assert (applied.change, applied.version) == ("unchanged", 1)
    assert changes == {"title": ("unchanged", 1, ()), "donor": ("unchanged", 1, ())}
    assert (projects.get(connection, "Grants"), prompts(connection)) == before


@pytest.mark.parametrize(
    ("changed", "fields"),
    [
        ({"instructions": "Find the donor's full name."}, ("instructions",)),
        ({"label": "Who gives"}, ("label",)),
        ({"confidence_threshold": 0.9}, ("confidence_threshold",)),
        ({"label": "Who gives", "examples": ["ACME"]}, ("examples", "label")),
        ({"type": "boolean"}, ("type",)),
    ],
)
def test_a_changed_variable_alone_gets_the_next_version(connection, changed, fields):
    apply(connection, "title", "donor")
    applied, changes = apply(connection, "title", variable("donor") | changed)
    assert (applied.change, applied.version) == ("updated", 2)
    assert changes == {"title": ("unchanged", 1, ()), "donor": ("changed", 2, fields)}
    assert prompts(connection) == [("title", 1), ("donor", 2)]


def test_a_change_taken_back_is_a_new_version_with_the_old_text(connection):
    project = factories.project(connection, "donor")
    first = projects.prompts(connection, project.id)[0]
    apply(connection, variable("donor", label="Giver"))
    _, changes = apply(connection, "donor")
    assert changes == {"donor": ("changed", 3, ("label",))}
    third = projects.prompts(connection, project.id)[0]
    assert (third.text, third.version) == (first.text, 3)
    assert third.id != first.id


def test_superseded_prompts_stay_as_they_were(connection):
    project = factories.project(connection, "donor")
    first = projects.prompts(connection, project.id)[0]
    apply(connection, variable("donor", label="Giver"))
    assert projects.prompt(connection, first.id) == first


def test_a_removed_variable_leaves_and_comes_back_with_its_version(connection):
    apply(connection, "title", variable("donor", label="Giver"))
    apply(connection, "title", variable("donor", label="Who"))
    applied, changes = apply(connection, "title")
    assert (applied.change, changes["donor"]) == ("updated", ("removed", 2, ()))
    assert prompts(connection) == [("title", 1)]

    applied, changes = apply(connection, "title")
    assert (applied.change, list(changes)) == ("unchanged", ["title"])

    _, changes = apply(connection, variable("donor", label="Who"), "title")
    assert changes["donor"] == ("added", 2, ())
    assert prompts(connection) == [("donor", 2), ("title", 1)]


def test_a_variable_that_comes_back_changed_gets_the_next_version(connection):
    apply(connection, "title", "donor")
    apply(connection, "title")
    _, changes = apply(connection, "title", variable("donor", label="Who"))
    assert changes["donor"] == ("added", 2, ("label",))
    assert prompts(connection) == [("title", 1), ("donor", 2)]


def test_a_renamed_variable_is_another_variable(connection):
    apply(connection, "title", "donor")
    _, changes = apply(connection, "title", variable("funder", instructions="Find the donor."))
    assert changes["funder"] == ("added", 1, ())
    assert changes["donor"] == ("removed", 1, ())
    assert prompts(connection) == [("title", 1), ("funder", 1)]


def test_a_variable_spelled_in_another_case_is_the_same_with_a_new_version(connection):
    apply(connection, "title", "donor")
    _, changes = apply(connection, "title", variable("Donor", instructions="Find the donor."))
    assert changes == {"title": ("unchanged", 1, ()), "Donor": ("changed", 2, ("name",))}
    assert prompts(connection) == [("title", 1), ("Donor", 2)]


def test_another_order_changes_no_prompt(connection):
    apply(connection, "title", "donor", "amount")
    applied, changes = apply(connection, "amount", "title", "donor")
    assert applied.change == "updated"
    assert {change for change, _, _ in changes.values()} == {"unchanged"}
    assert prompts(connection) == [("amount", 1), ("title", 1), ("donor", 1)]


def test_what_stands_beside_the_variables_changes_the_project_alone(connection):
    apply(connection, "title")
    applied, changes = apply(connection, "title", domain="grants", description="All of 2024")
    assert (applied.change, applied.version) == ("updated", 2)
    assert changes == {"title": ("unchanged", 1, ())}
    assert projects.get(connection, "Grants").codebook.domain == "grants"


@pytest.mark.parametrize("twin", ["GRANTS", "grants", "Ｇrants", "Grants"])
def test_names_that_differ_in_case_or_width_are_the_same_project(connection, twin):
    first = factories.project(connection, "title")
    applied, _ = apply(connection, "title", project=twin)
    assert applied.change == ("unchanged" if twin == "Grants" else "updated")
    assert projects.get(connection, "gRaNtS").id == first.id
    assert projects.names(connection) == [twin]


def test_names_are_sorted(connection):
    for name in ("b", "c", "a", "Ä"):
        factories.project(connection, name=name)
    assert projects.names(connection) == ["a", "b", "c", "Ä"]


def test_an_unknown_project_names_those_that_there_are(connection):
    factories.project(connection, name="Grants")
    factories.project(connection, name="Protests")
    with pytest.raises(UnknownProjectError, match=r"no project 'Grant'\. Known projects: Grants, Protests\."):
        projects.get(connection, "Grant")


def test_without_projects_an_unknown_one_says_so(connection):
    with pytest.raises(UnknownProjectError, match="There is no project yet"):
        projects.get(connection, "Grants")


def test_projects_do_not_share_variables(connection):
    factories.project(connection, "title", variable("donor", label="A"), name="One")
    factories.project(connection, "title", variable("donor", label="B"), name="Two")
    apply(connection, "title", variable("donor", label="C"), project="One")
    assert prompts(connection, "One") == [("title", 1), ("donor", 2)]
    assert prompts(connection, "Two") == [("title", 1), ("donor", 1)]


def test_a_project_may_have_no_variables(connection):
    projects.apply_codebook(connection, codebook("title").model_copy(update={"variables": ()}))
    assert prompts(connection) == []


def test_the_same_new_codebook_applied_by_many_at_once_is_one_project(database):
    together = threading.Barrier(8)
    changes = []

    def go() -> None:
        together.wait()
        with transaction() as connection:
            changes.append(projects.apply_codebook(connection, codebook("title", "donor")).change)

    threads = [threading.Thread(target=go) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(changes) == ["created"] + ["unchanged"] * 7
    with transaction() as connection:
        assert prompts(connection) == [("title", 1), ("donor", 1)]


def test_different_changes_applied_at_once_each_get_a_version(database):
    with transaction() as connection:
        factories.project(connection, "title")
    together = threading.Barrier(8)

    def go(number: int) -> None:
        together.wait()
        with transaction() as connection:
            projects.apply_codebook(connection, codebook(variable("title", label=f"Label {number}")))

    threads = [threading.Thread(target=go, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with transaction() as connection:
        assert prompts(connection) == [("title", 9)]
        assert projects.get(connection, "Grants").version == 9
