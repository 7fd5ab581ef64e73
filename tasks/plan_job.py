"""The plan of a job: all its cells stand in the database before the first call."""

import random
from dataclasses import replace

from sqlalchemy import Connection

from db import cells, documents, jobs, projects
from db.cells import PlannedCell
from db.documents import StoredDocument
from db.session import transaction
from db.upgrade import ready
from tasks import models
from winnow.answers import ENVELOPE_SCHEMA
from winnow.codebook import name_key
from winnow.exceptions import DefinitionError, NothingToDoError
from winnow.jobs import Job, JobOptions, draw_sample
from winnow.projects import Project, PromptVersion
from winnow.prompts import corpus_rules, request_key


def check_request(project_name: str, options: JobOptions) -> None:
    """Find out what is wrong with a request before anything is started or stored.

    Raises:
        DefinitionError: with what is wrong and the remedy.
    """
    ready()
    models.check_model(options.model)
    with transaction() as connection:
        project = projects.get(connection, project_name)
        _chosen_prompts(project, projects.prompts(connection, project.id), options)
        _readable(project, documents.of_project(connection, project.id))


def plan_job(project_name: str, options: JobOptions, flow_run_id: str | None = None) -> Job:
    """Plan a job, or go on with the unfinished one that was asked to do the same.

    Cells whose call was answered before, in whatever job, are settled here, without a call.

    Raises:
        DefinitionError: as `check_request`, or another process runs the job.
    """
    check_request(project_name, options)
    with transaction() as connection:
        project = projects.get(connection, project_name)
        jobs.lock_planning(connection, project.id)
        rules = corpus_rules(project.codebook)
        found = jobs.unfinished(connection, project.id, options)
        if found:
            job_id, options = found.id, found.options
            jobs.resume(connection, job_id, rules=rules, flow_run_id=flow_run_id)
        else:
            options = _with_seed(options)
            job_id = jobs.create(connection, project.id, options, rules=rules, flow_run_id=flow_run_id)
        jobs.abandon_others(connection, project.id, job_id)
        chosen = _chosen_documents(connection, project, options, job_id)
        prompts = _chosen_prompts(project, projects.prompts(connection, project.id), options)
        cells.plan(connection, job_id, _planned(connection, options.model, rules, chosen, prompts))
        cells.settle_answered(connection, job_id)
        return jobs.get(connection, job_id)


def _with_seed(options: JobOptions) -> JobOptions:
    """A sample's seed is stored, so that the sample can be drawn again."""
    if options.kind == "full" or options.seed is not None:
        return options
    return replace(options, seed=random.SystemRandom().randrange(2**31))


def _chosen_prompts(project: Project, prompts: list[PromptVersion], options: JobOptions) -> list[PromptVersion]:
    if project.codebook.unit_of_observation != "document":
        raise DefinitionError(
            f"Project {project.name!r} has entities as its unit of observation, which a run cannot extract yet. "
            "Set `unit_of_observation: document` in the codebook and apply it again."
        )
    if not prompts:
        raise NothingToDoError(
            f"Project {project.name!r} has no variables. Add some to its codebook and run `winnow apply CODEBOOK`."
        )
    if not options.variables:
        return prompts
    by_name = {name_key(prompt.variable.name): prompt for prompt in prompts}
    unknown = [name for name in options.variables if name_key(name) not in by_name]
    if unknown:
        raise DefinitionError(
            f"Project {project.name!r} has no variable {', '.join(map(repr, unknown))}. "
            f"It has: {', '.join(prompt.variable.name for prompt in prompts)}."
        )
    wanted = {name_key(name) for name in options.variables}
    return [prompt for key, prompt in by_name.items() if key in wanted]


def _readable(project: Project, stored: list[StoredDocument]) -> list[StoredDocument]:
    readable = [document for document in stored if document.status == "parsed"]
    if not readable:
        why = "none of its documents could be read" if stored else "it has no documents"
        raise NothingToDoError(
            f"Project {project.name!r} cannot run: {why}. Add some with `winnow ingest {project.name!r} PATH`."
        )
    return readable


def _chosen_documents(
    connection: Connection, project: Project, options: JobOptions, job_id: int
) -> list[StoredDocument]:
    """All documents that could be read; for a sample, those that the job has already, or else a fresh draw."""
    readable = _readable(project, documents.of_project(connection, project.id))
    if options.sample is None or options.seed is None:
        return readable
    drawn = cells.documents(connection, job_id) or draw_sample(
        [document.id for document in readable], options.sample, options.seed
    )
    return [document for document in readable if document.id in set(drawn)]


def _planned(
    connection: Connection, model: str, rules: str, chosen: list[StoredDocument], prompts: list[PromptVersion]
) -> list[PlannedCell]:
    """Every document with every prompt. A request whose last reply could not be read gets a fresh key."""

    def key(document: StoredDocument, prompt: PromptVersion, repair: int = 0) -> str:
        return request_key(
            model=model,
            parameters=models.parameters(model, prompt.variable.type),
            rules=rules,
            schema=ENVELOPE_SCHEMA,
            document_hash=str(document.text_hash),
            variable_prompts=[prompt.text],
            repair=repair,
        )

    pairs = [(document, prompt, key(document, prompt)) for document in chosen for prompt in prompts]
    repairs = cells.repairs(connection, [request for _, _, request in pairs])
    return [
        PlannedCell(
            document_id=document.id,
            prompt_id=prompt.id,
            request_key=request,
            call_key=key(document, prompt, repairs[request]) if request in repairs else request,
        )
        for document, prompt, request in pairs
    ]
