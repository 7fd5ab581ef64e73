"""The flows' parameters as the Prefect UI shows them: a label, a help line, and a dropdown where there is a choice."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field


def _shown(label: str, text: str, **limits: Any) -> Any:
    """A form field. Prefect names fields by the parameter, and takes a label only from the schema's extra keys."""
    return Field(json_schema_extra={"title": label, "description": text}, **limits)


Project = Annotated[str, _shown("Project", "Its name, as its codebook gives it.")]
Paths = Annotated[list[str], _shown("Files and folders", "On the worker's machine. Folders are walked through.")]
Sample = Annotated[int, _shown("Sample", "Try so many documents, drawn at random. 0: all documents.", ge=0)]
Variables = Annotated[
    Sequence[str], _shown("Variables", "Names of the variables to ask for. None: all of the codebook.")
]
ModelName = Annotated[
    str,
    _shown("Model", "provider:name, such as openai:gpt-4.1-mini, or baseline. Empty: the one that WINNOW_MODEL names."),
]
Concurrency = Annotated[
    int, _shown("Concurrency", "Calls in flight at once. 0: as WINNOW_CONCURRENCY says.", ge=0, le=512)
]
VariablesPerCall = Annotated[
    int, _shown("Variables per call", "How many variables of a document one call asks for. 0: all at once.", ge=0)
]
Budget = Annotated[
    float, _shown("Budget", "US dollars that the calls of the job may cost. 0: no limit.", ge=0, le=1_000_000)
]
JobId = Annotated[int, _shown("Job", "Its number, as `winnow jobs` lists it.", ge=1)]
Join = Annotated[
    int,
    _shown("Job to join", "Set by Winnow where several runs share a large job: work on this one. 0: none.", ge=0),
]
RetryFailed = Annotated[
    bool, _shown("Retry failed cells", "Also ask again for cells that failed or were skipped, in a job that has ended.")
]
Seed = Annotated[int | None, _shown("Seed", "Draw the sample of an earlier job again: the seed that it reported.")]
Output = Annotated[str, _shown("File to write", "On the worker's machine. A file that is there is replaced.")]
FileFormat = Annotated[
    Literal["csv", "xlsx"],
    _shown("Format", "CSV, or an Excel workbook with the data, the codebook and the run."),
]
FileShape = Annotated[
    Literal["wide", "long"], _shown("Shape", "A row per document, or a row per extracted value (CSV only).")
]
Extras = Annotated[
    Sequence[Literal["confidence", "evidence", "page", "status"]],
    _shown("More columns", "Columns to add beside every variable."),
]
