"""The plan of a job: all its cells stand in the database before the first call.

Where rows are entities, these are the cells that list them; a document's other cells are planned with its list.
"""

import random
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from sqlalchemy import Connection

from db import cells, documents, entities, jobs, projects, workers
from db.documents import StoredDocument
from db.session import transaction
from db.upgrade import ready
from tasks import models, observe
from tasks.cell_plan import CellPlan, chosen_prompts
from tasks.read_prices import prices
from winnow.codebook import name_key
from winnow.exceptions import DefinitionError, NothingToDoError
from winnow.jobs import Job, JobOptions, draw_sample
from winnow.projects import Project, PromptVersion
from winnow.prompts import corpus_rules

_MANY = 1000
"""Cells of a plan of which the database is told at once."""


def check_request(project_name: str, options: JobOptions) -> None:
    """Find out what is wrong with a request before anything is started or stored.

    Raises:
        DefinitionError: with what is wrong and the remedy.
    """
    ready()
    models.check_model(options.model)
    if options.budget is not None and prices().price(options.model) is None:
        raise DefinitionError(
            f"There is no price for {options.model!r}, so that no budget can be kept. Add one to prices.yaml in "
            "WINNOW_HOME, or run without --budget."
        )
    with transaction() as connection:
        project = projects.get(connection, project_name)
        _asked_prompts(project, projects.prompts(connection, project.id), options)
        _check_readable(connection, project)


@observe.planning
def plan_job(project_name: str, options: JobOptions, flow_run_id: str | None = None, *, deployed: bool = False) -> Job:
    """Plan a job, or go on with the unfinished one that was asked to do the same.

    Cells whose question was answered before, in whatever job, are settled here, without a call.

    Args:
        flow_run_id: of the flow run that runs it.
        deployed: whether that is the run of a deployment.

    Raises:
        DefinitionError: as `check_request`.
        BusyError: another process works on the job, or the project has another full job that is not finished.
    """
    check_request(project_name, options)
    with transaction() as connection:
        project = projects.get(connection, project_name)
        workers.reap(connection)
        jobs.lock_planning(connection, project.id)
        rules = corpus_rules(project.codebook)
        found = jobs.unfinished(connection, project.id, options)
        if found:
            job_id, options = found.id, replace(options, seed=found.options.seed)
            jobs.resume(connection, job_id, options, rules=rules, flow_run_id=flow_run_id, deployed=deployed)
        else:
            if options.kind == "full":
                jobs.refuse_second(connection, project.id)
            options = _with_seed(options)
            job_id = jobs.create(
                connection, project.id, options, rules=rules, flow_run_id=flow_run_id, deployed=deployed
            )
        if options.kind == "sample":
            jobs.abandon_others(connection, project.id, job_id)
        plan = cell_plan(connection, project, options)
        chosen = partial(chosen_documents, connection, project, options, job_id)
        key = None if plan.unit else plan.key(chosen())  # of entities, what was listed meanwhile shapes the plan too
        changed = jobs.new_plan(connection, job_id, key) or key is None
        if changed:
            planned = (
                cell
                for document in chosen()
                for cell in plan.of_document(document.id, str(document.text_hash), document.tokens or 0)
            )
            cells.plan(connection, job_id, planned)
        cells.settle_answered(connection, job_id)
        if plan.unit:
            _plan_listed(connection, job_id, plan)
        job = jobs.get(connection, job_id)
        if changed and job.counts.total >= _MANY:
            cells.analyze(connection)
        return job


def join_job(job_id: int) -> Job:
    """A job that was planned by another run.

    Raises:
        DefinitionError: there is no such job.
    """
    ready()
    with transaction() as connection:
        return jobs.get(connection, job_id)


def cell_plan(connection: Connection, project: Project, options: JobOptions) -> CellPlan:
    """What a job with these options asks of every document."""
    return CellPlan(
        model=options.model,
        rules=corpus_rules(project.codebook),
        codebook=project.codebook,
        prompts=_asked_prompts(project, projects.prompts(connection, project.id), options),
        unit=projects.unit_prompt(connection, project.id),
    )


def _plan_listed(connection: Connection, job_id: int, plan: CellPlan) -> None:
    """Plan the cells of entities that were listed before, in whatever job."""
    for page in entities.listed_pages(connection, job_id):
        planned = [
            cell
            for document in page
            for cell in plan.of_entities(document.id, document.text_hash, document.tokens, document.entities)
        ]
        cells.plan_entities_of(connection, job_id, [document.id for document in page], planned)
    cells.settle_answered(connection, job_id)


def _with_seed(options: JobOptions) -> JobOptions:
    """A sample's seed is stored, so that the sample can be drawn again."""
    if options.kind == "full" or options.seed is not None:
        return options
    return replace(options, seed=random.SystemRandom().randrange(2**31))


def _asked_prompts(project: Project, prompts: list[PromptVersion], options: JobOptions) -> tuple[PromptVersion, ...]:
    if not prompts:
        raise NothingToDoError(
            f"Project {project.name!r} has no variables. Add some to its codebook and run `winnow apply CODEBOOK`."
        )
    known = {name_key(prompt.variable.name) for prompt in prompts}
    unknown = [name for name in options.variables if name_key(name) not in known]
    if unknown:
        raise DefinitionError(
            f"Project {project.name!r} has no variable {', '.join(map(repr, unknown))}. "
            f"It has: {', '.join(prompt.variable.name for prompt in prompts)}."
        )
    return chosen_prompts(options.variables, prompts)


def _check_readable(connection: Connection, project: Project) -> None:
    known = documents.statuses(connection, project.id)
    if "parsed" not in known:
        why = "none of its documents could be read" if known else "it has no documents"
        raise NothingToDoError(
            f"Project {project.name!r} cannot run: {why}. Add some with `winnow ingest {project.name!r} PATH`."
        )


def chosen_documents(
    connection: Connection, project: Project, options: JobOptions, job_id: int | None
) -> Iterator[StoredDocument]:
    """All documents that could be read; for a sample, those that the job has already, or else a fresh draw."""
    _check_readable(connection, project)
    readable = documents.readable(connection, project.id)
    if options.sample is None or options.seed is None:
        return readable
    planned = cells.documents(connection, job_id) if job_id is not None else []
    known = list(readable)
    drawn = set(planned or draw_sample([document.id for document in known], options.sample, options.seed))
    return (document for document in known if document.id in drawn)
