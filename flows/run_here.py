"""`winnow run`: the flow `extract-variables` in this process, with a progress bar."""

from typing import Any

from rich.console import Console

from flows.prefect_environment import use_prefect


def run_here(
    project: str,
    *,
    sample: int | None = None,
    variables: list[str] | None = None,
    model: str = "",
    concurrency: int | None = None,
    seed: int | None = None,
) -> dict[str, Any]:
    """Run a job and give its figures.

    Raises:
        DefinitionError: before anything is started or stored.
        ProviderError: the provider refuses every call.
    """
    console = Console(stderr=True)
    with console.status("Checking the request"):
        use_prefect()
        from flows.extract_variables import extract_variables, job_options
        from tasks.plan_job import check_request

        check_request(project, job_options(sample, variables, model, seed))
    from flows.show_progress import job_progress

    with job_progress(project, console):
        return extract_variables(
            project, sample=sample, variables=variables, model=model, concurrency=concurrency, seed=seed
        )
