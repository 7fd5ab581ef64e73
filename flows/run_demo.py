"""`winnow demo`: the main job on the bundled corpus, from codebook to dataset, compared with its gold table."""

from pathlib import Path

from rich.console import Console

from db import documents, extractions, projects
from db.session import transaction
from db.upgrade import ready
from flows.ingest_documents import ingest_documents
from flows.run_here import run_here
from flows.tell import tell_agreement, tell_applied, tell_ingested, tell_job
from tasks.export_files import ExportOptions
from tasks.export_project import write_export
from tasks.gold_tables import read_gold
from tasks.read_codebook import read_codebook
from winnow.agreement import compare
from winnow.exceptions import DefinitionError
from winnow.settings import settings

CORPUS = Path(__file__).parent.parent / "examples" / "grants"


def run_demo(output: Path, model: str) -> int:
    """Run the demo and print what came of it. Returns the exit status.

    Raises:
        DefinitionError: the corpus is not there, or `output` cannot be written to.
    """
    console = Console(stderr=True, highlight=False, quiet=settings().log == "json")
    codebook = read_codebook(_corpus() / "codebook.yaml")
    with console.status("Starting the database"):
        ready()
    with transaction() as connection:
        applied = projects.apply_codebook(connection, codebook)
    tell_applied(applied)
    with console.status("Reading the documents"):
        outcome = ingest_documents(codebook.project, [str(CORPUS / "documents")])
    tell_ingested(outcome, _documents(codebook.project))
    figures = run_here(codebook.project, model=model)
    tell_job(figures)
    files = _write(codebook.project, output)
    with transaction() as connection:
        project = projects.get(connection, codebook.project)
        dataset = extractions.dataset(connection, project.id)
    print("\nAgreement with the gold table:")
    tell_agreement(compare(dataset, codebook, read_gold(CORPUS / "gold.csv")))
    print(f"\nNew calls made: {figures['calls']}")
    print("The dataset:")
    for file in files:
        print(f"  {file}")
    if figures["model"] == "baseline":
        print(_REAL_MODEL)
    return 0 if figures["status"] == "completed" else 1


_REAL_MODEL = """
These answers came from `baseline`, the embedded model that works by rules and needs no key: a floor to beat.
With a language model:
  export OPENAI_API_KEY=...        (and OPENAI_BASE_URL=... for any other OpenAI-compatible server)
  winnow demo --model openai:gpt-4.1-mini"""


def _corpus() -> Path:
    if not CORPUS.is_dir():
        raise DefinitionError(
            f"The example corpus is not in {CORPUS}. Run the demo from a checkout of Winnow, installed with pip -e."
        )
    return CORPUS


def _documents(project: str) -> list[documents.StoredDocument]:
    with transaction() as connection:
        return documents.of_project(connection, projects.get(connection, project).id)


def _write(project: str, output: Path) -> list[str]:
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DefinitionError(f"The folder {output} cannot be made: {error.strerror}.") from error
    exports = {
        "dataset.csv": ExportOptions(format="csv", shape="wide"),
        "dataset_long.csv": ExportOptions(format="csv", shape="long"),
        "dataset.xlsx": ExportOptions(format="xlsx"),
    }
    return [write_export.fn(project, str(output / name), options) for name, options in exports.items()]
