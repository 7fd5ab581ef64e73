"""`winnow run`: the flow `extract-variables` in this process, with a progress bar."""

import signal
from collections.abc import Sequence
from typing import Any, NoReturn

from rich.console import Console

from flows.prefect_environment import use_prefect
from winnow.exceptions import JobPausedError, JobStoppedError, TerminatedError
from winnow.settings import settings


def run_here(
    project: str,
    *,
    sample: int = 0,
    variables: Sequence[str] = (),
    model: str = "",
    concurrency: int = 0,
    variables_per_call: int = 1,
    budget: float = 0.0,
    seed: int | None = None,
) -> dict[str, Any]:
    """Run a job and give its figures.

    Raises:
        DefinitionError: before anything is started or stored.
        BudgetReachedError: the next call could cost more than the job may.
        ProviderError: the provider refuses every call.
        JobPausedError: somebody stopped it.
        JobStoppedError: Ctrl-C.
        TerminatedError: SIGTERM.
    """
    console = Console(stderr=True, quiet=settings().log == "json")  # standard error is for lines of JSON then
    with console.status("Checking the request"):
        use_prefect()
        from flows.extract_variables import extract_variables, job_options
        from tasks.plan_job import check_request

        check_request(project, job_options(sample, variables, model, seed, variables_per_call, budget))
    from prefect.exceptions import CancelledRun, Pause, TerminationSignal

    from flows.show_progress import job_progress
    from tasks.job_figures import figures_without_prefect
    from tasks.showing import AWAY

    signal.signal(signal.SIGTERM, _terminate)
    try:
        with job_progress(project, console):
            return extract_variables(
                project, sample=sample, variables=list(variables), model=model, concurrency=concurrency,
                variables_per_call=variables_per_call, budget=budget, seed=seed,
            )  # fmt: skip
    except CancelledRun as error:
        raise JobPausedError(str(error)) from None
    except Pause:
        raise JobPausedError(
            "The flow run was paused in Prefect, and the job with it. Run the same command to go on."
        ) from None
    except AWAY:  # it could not be told how the run ended
        return figures_without_prefect(project)
    except TerminationSignal:
        raise TerminatedError("Asked to end. What was answered is kept; run the same command to go on.") from None
    except KeyboardInterrupt:
        raise JobStoppedError("Stopped. What was answered is kept; run the same command to go on.") from None


def _terminate(number: int, _: object) -> NoReturn:
    from prefect.exceptions import TerminationSignal

    raise TerminationSignal(signal=number)


def retry_here(project: str, *, concurrency: int = 0) -> dict[str, Any]:
    """Ask again for the failed cells of the project's newest job, and give its figures.

    Raises:
        WinnowError: as `resume_here`.
    """
    from tasks.steer_job import newest_job

    return resume_here(newest_job(project), concurrency=concurrency, retry_failed=True)


def resume_here(job_id: int, *, concurrency: int = 0, retry_failed: bool = False) -> dict[str, Any]:
    """Go on with a job and give its figures.

    Raises:
        WinnowError: as `run_here`; DefinitionError where nothing is left to do.
    """
    from tasks.steer_job import reopen_job, run_parameters

    job = reopen_job(job_id, retry_failed=retry_failed)
    return run_here(job.project, concurrency=concurrency, **run_parameters(job))
