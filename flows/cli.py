"""The `winnow` command. Exit status: 0 all well, 1 the work ended with failed cells, 2 the request was
wrong, 130 stopped by Ctrl-C; asked to end by SIGTERM, it ends in good order with 0.

Prefect, the database and the models are imported by the command that needs them: `winnow --help` stays quick.
"""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from winnow import __version__
from winnow.exceptions import (
    BudgetReachedError,
    JobPausedError,
    JobStoppedError,
    ProviderError,
    TerminatedError,
    WinnowError,
)

app = typer.Typer(
    help="Turn a folder of documents into a dataset: every cell with its value, its confidence and its evidence.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
db_app = typer.Typer(help="The database.", no_args_is_help=True)
app.add_typer(db_app, name="db")

ProjectName = Annotated[str, typer.Argument(help="Name of the project, as its codebook gives it.")]
JobNumber = Annotated[int, typer.Argument(metavar="ID", help="Number of the job, as `winnow jobs` lists it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
ModelName = Annotated[
    str, typer.Option("--model", help="provider:name, such as openai:gpt-4.1-mini, or baseline. Default: WINNOW_MODEL.")
]


def main() -> None:
    """Run the command; what Winnow foresaw ends in one message and an exit status, never in a traceback."""
    try:
        _run()
    except SystemExit as end:
        if "prefect" in sys.modules:
            from flows.prefect_environment import end_without_server

            end_without_server(end.code)
        raise


def _run() -> None:
    try:
        app()
    except ProviderError as error:
        _complain(f"{error}\nWhat was answered is kept; run the same command to go on.")
        sys.exit(2)
    except (BudgetReachedError, JobPausedError) as error:
        _complain(str(error))
        sys.exit(1)
    except JobStoppedError as error:
        _complain(str(error))
        sys.exit(0 if isinstance(error, TerminatedError) else 130)
    except WinnowError as error:
        _complain(str(error))
        sys.exit(2)


def _complain(message: str) -> None:
    print(f"winnow: {message}", file=sys.stderr)


def _print_json(data: Any) -> None:
    print(json.dumps(data, ensure_ascii=False, default=str))


def _version(wanted: bool) -> None:
    if wanted:
        print(f"winnow {__version__}")
        raise typer.Exit


@app.callback()
def _winnow(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", callback=_version)] = False,
) -> None:
    del version


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the dataset.")] = Path("demo-output"),
    model: ModelName = "",
) -> None:
    """Run the main job on the bundled example corpus, from codebook to dataset."""
    from flows.prefect_environment import use_prefect

    use_prefect()
    from flows.run_demo import run_demo

    sys.exit(run_demo(output, model))


@app.command()
def up(
    port: Annotated[int | None, typer.Option(help="Port of the Prefect server. Default: 4200, or a free one.")] = None,
) -> None:
    """Start database, Prefect server and UI, work pool, deployments and a worker. Ctrl-C stops all of it."""
    from flows.start_stack import start_stack

    sys.exit(start_stack(port))


@app.command()
def apply(
    codebook: Annotated[Path, typer.Argument(help="The codebook, a YAML file.")], as_json: AsJson = False
) -> None:
    """Create or update a project from its codebook, and say what changed."""
    from dataclasses import asdict

    from db import projects
    from db.session import transaction
    from db.upgrade import ready
    from flows.tell import tell_applied
    from tasks.read_codebook import read_codebook

    read = read_codebook(codebook)
    ready()
    with transaction() as connection:
        applied = projects.apply_codebook(connection, read)
    if as_json:
        _print_json(asdict(applied))
    else:
        tell_applied(applied)


@app.command()
def ingest(
    project: ProjectName,
    paths: Annotated[list[str], typer.Argument(help="Files and folders; folders are walked through.")],
    as_json: AsJson = False,
) -> None:
    """Read files into a project. The same bytes are read once."""
    from db import documents, projects
    from db.session import transaction
    from db.upgrade import ready
    from flows.prefect_environment import use_prefect
    from flows.tell import tell_ingested
    from tasks.collect_files import collect_files

    ready()
    with transaction() as connection:
        project_id = projects.get(connection, project).id
    collect_files(paths)  # what is wrong with the paths shows before anything starts
    use_prefect()
    from flows.ingest_documents import ingest_documents

    outcome = ingest_documents(project, [os.path.abspath(path) for path in paths])
    with transaction() as connection:
        stored = documents.of_project(connection, project_id)
    if as_json:
        failed = [{"name": d.name, "reason": d.reason, "detail": d.detail} for d in stored if d.status == "failed"]
        _print_json({"project": project, "files": outcome, "documents": len(stored), "failed": failed})
    else:
        tell_ingested(outcome, stored)


@app.command()
def run(  # noqa: PLR0913, PLR0917 # the options of DESIGN
    project: ProjectName,
    sample: Annotated[int | None, typer.Option(min=1, help="Try so many documents, drawn at random.")] = None,
    variables: Annotated[str, typer.Option(help="Names of variables, with commas between. Default: all.")] = "",
    model: ModelName = "",
    concurrency: Annotated[int | None, typer.Option(min=1, max=512, help="Calls in flight at once.")] = None,
    seed: Annotated[int | None, typer.Option(help="Draw the sample of an earlier job again.")] = None,
    per_call: Annotated[
        int, typer.Option("--variables-per-call", min=0, help="Variables of a document that one call asks; 0: all.")
    ] = 1,
    budget: Annotated[
        float | None, typer.Option(min=0.0001, help="US dollars that the job's calls may cost. Default: no limit.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost, and ask nothing.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask again for the failed cells of the newest job, and no others.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ask a model for every variable of every document. What was answered before is not asked again."""
    names = [name.strip() for name in variables.split(",") if name.strip()]
    if dry_run:
        _estimate(project, sample or 0, names, model, seed, per_call, as_json)
        return
    from flows.run_here import retry_here, run_here
    from flows.tell import tell_job

    figures = (
        retry_here(project, concurrency=concurrency or 0)
        if retry_failed
        else run_here(
            project, sample=sample or 0, variables=names, model=model, concurrency=concurrency or 0,
            variables_per_call=per_call, budget=budget or 0.0, seed=seed,
        )
    )  # fmt: skip
    if as_json:
        _print_json(figures)
    else:
        tell_job(figures)
    sys.exit(0 if figures["status"] == "completed" else 1)


def _estimate(
    project: str, sample: int, variables: list[str], model: str, seed: int | None, per_call: int, as_json: bool
) -> None:
    from flows.tell import tell_estimate
    from tasks.estimate_job import estimate_job
    from tasks.models import chosen_model
    from winnow.jobs import JobOptions

    estimate = estimate_job(
        project,
        JobOptions(
            kind="sample" if sample else "full", model=chosen_model(model), variables=tuple(variables),
            sample=sample or None, seed=seed, variables_per_call=per_call,
        ),
    )  # fmt: skip
    if as_json:
        _print_json(estimate)
    else:
        tell_estimate(estimate)


@app.command()
def jobs(as_json: AsJson = False) -> None:
    """List the newest jobs."""
    from db import jobs as stored
    from db.session import transaction
    from db.upgrade import ready
    from flows.tell import tell_jobs
    from tasks.job_figures import job_figures

    ready()
    with transaction() as connection:
        newest = stored.newest(connection)
    if as_json:
        _print_json({"jobs": [job_figures(job.id) for job in newest]})
    else:
        tell_jobs(newest)


@app.command()
def job(
    job_id: JobNumber,
    costs: Annotated[bool, typer.Option("--costs", help="What it bought, by variable, document and model.")] = False,
    completeness: Annotated[
        bool, typer.Option("--documents", help="Of every document, whether all of it was read and found.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show one job."""
    from db.upgrade import ready
    from flows.tell import tell_costs, tell_documents, tell_job
    from tasks.job_figures import job_costs, job_documents, job_figures

    ready()
    figures = job_figures(job_id)
    if costs:
        figures["costs"] = job_costs(job_id)
    if completeness:
        figures["documents"] = job_documents(job_id)
    if as_json:
        _print_json(figures)
        return
    tell_job(figures)
    if costs:
        tell_costs(figures["costs"])
    if completeness:
        tell_documents(figures["documents"])


@app.command()
def pause(job_id: JobNumber, as_json: AsJson = False) -> None:
    """Start no new call for a job. Calls in flight are kept."""
    from tasks.steer_job import pause_job

    pause_job(job_id)
    _tell(job_id, as_json)


@app.command()
def cancel(job_id: JobNumber, as_json: AsJson = False) -> None:
    """End a job where it stands. What was answered is kept, and the job can be resumed."""
    from tasks.steer_job import cancel_job

    cancel_job(job_id)
    _tell(job_id, as_json)


@app.command()
def resume(
    job_id: JobNumber,
    concurrency: Annotated[int | None, typer.Option(min=1, max=512, help="Calls in flight at once.")] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Ask again for what failed, also in a job that has ended.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Go on with a job that was paused or cancelled."""
    from flows.run_here import resume_here
    from flows.tell import tell_job

    figures = resume_here(job_id, concurrency=concurrency or 0, retry_failed=retry_failed)
    if as_json:
        _print_json(figures)
    else:
        tell_job(figures)
    sys.exit(0 if figures["status"] == "completed" else 1)


def _tell(job_id: int, as_json: bool) -> None:
    from flows.tell import tell_job
    from tasks.job_figures import job_figures

    figures = job_figures(job_id)
    if as_json:
        _print_json(figures)
    else:
        tell_job(figures)


@app.command()
def export(  # the options of DESIGN
    project: ProjectName,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write.")] = None,
    file_format: Annotated[Literal["csv", "xlsx"] | None, typer.Option("--format", help="Default: by FILE.")] = None,
    shape: Annotated[Literal["wide", "long"], typer.Option(help="A row per document, or per value (CSV).")] = "wide",
    columns: Annotated[str, typer.Option("--with", help="More columns: confidence,evidence,page,status.")] = "",
    as_json: AsJson = False,
) -> None:
    """Write the dataset as CSV or as an Excel workbook."""
    from flows.export_here import export_here

    written = export_here(project, output, file_format, shape, columns)
    if as_json:
        _print_json({"project": project, "written": written})
    else:
        print(f"Written: {written}")


@db_app.command("upgrade")
def db_upgrade() -> None:
    """Bring the database's schema up to date. Every command does this by itself."""
    from db.upgrade import upgrade

    upgrade()
    print("The database is up to date.")


@db_app.command("url")
def db_url() -> None:
    """Print the database's address, for psql and other clients. It holds the password."""
    from db.session import database_url

    print(database_url().set(drivername="postgresql").render_as_string(hide_password=False))


if __name__ == "__main__":
    main()
