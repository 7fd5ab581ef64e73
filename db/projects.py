"""Projects, their variables and the versions of their prompts."""

from typing import Any

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.dialects.postgresql import insert as upsert

from db import tables
from winnow.codebook import Codebook, Variable, name_key
from winnow.entities import unit_variable
from winnow.exceptions import UnknownProjectError
from winnow.projects import AppliedCodebook, Project, PromptVersion, VariableChange
from winnow.prompts import unit_prompts, variable_prompt

_project, _variable, _prompt = (table.__table__ for table in (tables.Project, tables.Variable, tables.Prompt))


def names(connection: Connection) -> list[str]:
    """The names of all projects, sorted."""
    return list(connection.scalars(select(_project.c.name).order_by(_project.c.name)))


def get(connection: Connection, name: str) -> Project:
    """The project of this name.

    Raises:
        UnknownProjectError: there is none; the message names those that there are.
    """
    row = connection.execute(select(_project).where(_project.c.name_key == name_key(name))).one_or_none()
    if row is None:
        raise UnknownProjectError(name, names(connection))
    return _project_from(row)


def _project_from(row: Any) -> Project:
    return Project(id=row.id, name=row.name, version=row.version, codebook=Codebook.model_validate(row.codebook))


def prompts(connection: Connection, project_id: int) -> list[PromptVersion]:
    """The newest prompt of every variable that the codebook has now, in its order."""
    return _current(connection, project_id, "variable")


def unit_prompt(connection: Connection, project_id: int) -> PromptVersion | None:
    """The newest prompt that asks for the entities of a document; None where rows are documents."""
    return next(iter(_current(connection, project_id, "unit")), None)


def _current(connection: Connection, project_id: int, kind: str) -> list[PromptVersion]:
    newest = (
        select(_prompt, _variable.c.position)
        .join(_variable, _variable.c.id == _prompt.c.variable_id)
        .where(_variable.c.project_id == project_id, _variable.c.kind == kind, _variable.c.position.is_not(None))
        .ext(distinct_on(_variable.c.position))
        .order_by(_variable.c.position, _prompt.c.version.desc())
    )
    return [_prompt_version(row) for row in connection.execute(newest)]


def by_id(connection: Connection, project_id: int) -> Project:
    """The project of this id."""
    return _project_from(connection.execute(select(_project).where(_project.c.id == project_id)).one())


def prompt(connection: Connection, prompt_id: int) -> PromptVersion:
    """One version of a variable's prompt, current or not."""
    return _prompt_version(connection.execute(select(_prompt).where(_prompt.c.id == prompt_id)).one())


def _prompt_version(row: Any) -> PromptVersion:
    variable = Variable.model_validate(row.definition)
    return PromptVersion(id=row.id, version=row.version, variable=variable, text=row.text)


def apply_codebook(connection: Connection, codebook: Codebook) -> AppliedCodebook:
    """Create or update a project. The same codebook twice changes nothing; a changed variable gets its next version."""
    whole = codebook.model_dump(mode="json", exclude_defaults=True)
    new = {
        "name": codebook.project,
        "name_key": name_key(codebook.project),
        "codebook": whole,
        "version": 1,
    }
    created = connection.scalar(
        upsert(_project).values(new).on_conflict_do_nothing(index_elements=["name_key"]).returning(_project.c.id)
    )
    before = connection.execute(select(_project).where(_project.c.name_key == new["name_key"]).with_for_update()).one()
    changes = _apply_variables(connection, before.id, codebook)
    version = before.version
    if before.codebook != whole:
        version += 1
        connection.execute(
            update(_project)
            .where(_project.c.id == before.id)
            .values(name=codebook.project, codebook=whole, version=version, updated_at=func.now())
        )
    return AppliedCodebook(
        project=codebook.project,
        change="created" if created else "updated" if version != before.version else "unchanged",
        version=version,
        variables=tuple(changes),
    )


def _apply_variables(connection: Connection, project_id: int, codebook: Codebook) -> list[VariableChange]:
    rows = connection.execute(select(_variable).where(_variable.c.project_id == project_id))
    stored = {(row.kind, row.name_key): row for row in rows}
    newest = _newest_prompts(connection, project_id)
    changes = []
    wanted = _columns(codebook)
    for (kind, key), (position, variable, prompt) in wanted.items():
        row = stored.get((kind, key))
        place = {"name": variable.name, "position": position}
        if row is None:
            values = {"project_id": project_id, "kind": kind, "name_key": key, **place}
            variable_id = connection.execute(insert(_variable).values(values).returning(_variable.c.id)).scalar_one()
            changes.append(_next_version(connection, variable_id, variable, prompt, None, returning=False))
        else:
            connection.execute(update(_variable).where(_variable.c.id == row.id).values(place))
            returning = row.position is None
            changes.append(_next_version(connection, row.id, variable, prompt, newest[row.id], returning=returning))
    for column, row in stored.items():
        if column not in wanted and row.position is not None:
            connection.execute(update(_variable).where(_variable.c.id == row.id).values(position=None))
            changes.append(VariableChange(name=row.name, change="removed", prompt_version=newest[row.id].version))
    return changes


def _columns(codebook: Codebook) -> dict[tuple[str, str], tuple[int, Variable, str]]:
    """By kind and name: the position, definition and prompt of every variable, and of the unit of observation."""
    columns = {
        ("variable", name_key(variable.name)): (position, variable, variable_prompt(variable))
        for position, variable in enumerate(codebook.variables)
    }
    unit = codebook.unit_of_observation
    if unit != "document":
        prompt = ",\n".join(unit_prompts(unit, codebook))
        columns["unit", name_key(unit.entity)] = (0, unit_variable(unit), prompt)
    return columns


def _newest_prompts(connection: Connection, project_id: int) -> dict[int, Any]:
    query = (
        select(_prompt)
        .join(_variable, _variable.c.id == _prompt.c.variable_id)
        .where(_variable.c.project_id == project_id)
        .ext(distinct_on(_prompt.c.variable_id))
        .order_by(_prompt.c.variable_id, _prompt.c.version.desc())
    )
    return {row.variable_id: row for row in connection.execute(query)}


def _next_version(
    connection: Connection, variable_id: int, variable: Variable, prompt: str, newest: Any | None, *, returning: bool
) -> VariableChange:
    """The variable's prompt, as version n+1 where its definition differs from version n.

    The prompt of a unit of observation names the variables that identify it, and so changes with them.
    """
    definition = variable.model_dump(mode="json", exclude_defaults=True)
    identified = variable_prompt(variable) == prompt  # by its definition alone: so it is for all but units
    if newest is not None and newest.definition == definition and (identified or newest.text == prompt):
        return VariableChange(
            name=variable.name, change="added" if returning else "unchanged", prompt_version=newest.version
        )
    version = newest.version + 1 if newest is not None else 1
    values = {"variable_id": variable_id, "version": version, "definition": definition}
    connection.execute(insert(_prompt).values(text=prompt, **values))
    before = newest.definition if newest is not None else {}
    fields = tuple(sorted(key for key in {*definition, *before} if definition.get(key) != before.get(key)))
    return VariableChange(
        name=variable.name,
        change="added" if newest is None or returning else "changed",
        prompt_version=version,
        fields=fields if newest is not None else (),
    )
