"""What commands say to people. Figures come first; tables where there is more than a line of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from db.documents import StoredDocument
from winnow.agreement import Agreement
from winnow.jobs import Job
from winnow.projects import AppliedCodebook

_out = Console(highlight=False, soft_wrap=True)
if not _out.is_terminal:  # in a file or a pipe nothing needs to fit a window
    _out = Console(highlight=False, soft_wrap=True, width=200)
_MOST_SHOWN = 20


def tell_applied(applied: AppliedCodebook) -> None:
    """What applying a codebook changed, a line per variable that changed."""
    _say(f"Project {applied.project}: {applied.change} (codebook version {applied.version})")
    for variable in applied.variables:
        if variable.change == "unchanged":
            continue
        what = f" ({', '.join(variable.fields)})" if variable.fields else ""
        now = "" if variable.change == "removed" else f", prompt version {variable.prompt_version}"
        _say(f"  {variable.name}: {variable.change}{what}{now}")
    unchanged = sum(variable.change == "unchanged" for variable in applied.variables)
    if unchanged and applied.change != "created":
        _say(f"  {unchanged} variable{_s(unchanged)} unchanged")


def tell_ingested(outcome: Mapping[str, int], stored: Sequence[StoredDocument]) -> None:
    """What became of the files, and which documents of the project gave no text."""
    words = {"parsed": "read", "failed": "failed", "known": "known already", "named": "known under another name"}
    _say(", ".join(f"{outcome[key]} {word}" for key, word in words.items() if outcome.get(key)) or "No files")
    failed = [document for document in stored if document.status == "failed"]
    for document in failed[:_MOST_SHOWN]:
        _say(f"  {document.name}: {document.reason} ({document.detail})")
    if len(failed) > _MOST_SHOWN:
        _say(f"  and {len(failed) - _MOST_SHOWN} more")
    parsed = len(stored) - len(failed)
    _say(
        f"The project has {parsed} document{_s(parsed)} to ask about" + (f", {len(failed)} without text" * bool(failed))
    )


def tell_job(figures: Mapping[str, Any]) -> None:
    """A job's figures."""
    cells = figures["cells"]
    _say(f"Job {figures['job']} of {figures['project']} ({figures['kind']}): {figures['status'].replace('_', ' ')}")
    if figures["reason"]:
        _say(f"  {figures['reason']}")
    _say(
        f"  {cells['total']} cells: {cells['extracted']} extracted, {cells['flagged']} flagged, "
        f"{cells['failed']} failed, {cells['skipped']} skipped, {cells['pending']} pending"
    )
    for reason, number in figures["failures"].items():
        _say(f"    without answer: {number} {reason}")
    _say(
        f"  {figures['calls']} new calls to {figures['model']}: {figures['prompt_tokens']} prompt tokens "
        f"({figures['cached_tokens']} cached), {figures['completion_tokens']} completion tokens{_money(figures)}"
    )
    if figures["kind"] == "sample":
        _say(f"  sample of {figures['sample']} documents, seed {figures['seed']}")


def _money(spent: Mapping[str, Any]) -> str:
    if spent["cost"] is None:
        return ""
    return f", ${spent['cost']:.4f}" + (" (partly estimated)" if spent["estimated"] else "")


def tell_costs(costs: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """What a job has bought: a table by variable, by document and by model, the most expensive first."""
    for what, rows in costs.items():
        table = Table(what, "calls", "prompt tokens", "cached", "completion tokens", "US dollars", box=box.SIMPLE_HEAD)
        for row in rows[:_MOST_SHOWN]:
            numbers = [str(row[key]) for key in ("calls", "prompt_tokens", "cached_tokens", "completion_tokens")]
            table.add_row(Text(row[what]), *numbers, "" if row["cost"] is None else f"{row['cost']:.4f}")
        _out.print(table)
        if len(rows) > _MOST_SHOWN:
            _say(f"  and {len(rows) - _MOST_SHOWN} more")


def tell_documents(accounts: Sequence[Mapping[str, Any]]) -> None:
    """Of every document, whether all of it was read and all that it announces was found."""
    table = Table("document", "state", "announced", "listed", "rows", "unread", "why", box=box.SIMPLE_HEAD)
    for account in accounts:
        numbers = (
            "" if account[key] is None else str(account[key]) for key in ("announced", "listed", "rows", "unread")
        )
        table.add_row(Text(account["document"]), account["status"], *numbers, Text(account["reason"] or ""))
    _out.print(table)


def tell_estimate(estimate: Mapping[str, Any]) -> None:
    """What a job would cost, as a range."""
    _say(f"{estimate['project']} with {estimate['model']}: {estimate['cells']} cells, {estimate['answered']} answered")
    _say(f"  calls              {_range(estimate, 'calls')}")
    _say(
        f"  prompt tokens      {_range(estimate, 'prompt_tokens')}, of them cached {_range(estimate, 'cached_tokens')}"
    )
    _say(f"  completion tokens  {_range(estimate, 'completion_tokens')}")
    if estimate["cost_low"] is None:
        _say(f"  no price is known for {estimate['model']}; add one to {estimate['prices']}")
    else:
        _say(f"  US dollars         {estimate['cost_low']:.4f} to {estimate['cost_high']:.4f}")
    if estimate["unlisted"]:
        _say(
            f"  {estimate['unlisted']} documents have no list of entities yet: the range takes one entity each at "
            f"least, and one for every {estimate['tokens_per_entity']} tokens of text at most"
        )


def _range(estimate: Mapping[str, Any], what: str) -> str:
    low, high = sorted((estimate[f"{what}_low"], estimate[f"{what}_high"]))
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def tell_jobs(newest: Sequence[Job]) -> None:
    """Jobs as a table, newest first."""
    if not newest:
        _say("There are no jobs yet. Start one with `winnow run PROJECT`.")
        return
    heads = ("job", "project", "kind", "model", "status", "cells", "done", "flagged", "failed", "started")
    table = Table(*heads, box=box.SIMPLE_HEAD)
    for job in newest:
        counts = job.counts
        numbers = [str(number) for number in (counts.total, counts.done, counts.flagged, counts.failed)]
        started = job.created_at.astimezone().strftime("%Y-%m-%d %H:%M")
        cells = [str(job.id), job.project, job.options.kind, job.options.model, job.status, *numbers, started]
        table.add_row(*(Text(cell) for cell in cells))
    _out.print(table)


def tell_agreement(agreement: Agreement) -> None:
    """How the dataset compares with the gold table, variable by variable."""
    table = Table("variable", "right", "wrong", "missed", "invented", "accuracy", box=box.SIMPLE_HEAD)
    for name, tally in [*agreement.variables.items(), ("all", agreement.overall)]:
        right = tally.correct + tally.correct_empty
        numbers = [str(number) for number in (right, tally.wrong, tally.missed, tally.invented)]
        accuracy = f"{tally.accuracy:.0%}" if tally.accuracy is not None else ""
        table.add_row(Text(name), *numbers, accuracy)
    _out.print(table)


def _say(line: str) -> None:
    _out.print(Text(line))  # as it is: a name in brackets is no markup


def _s(number: int) -> str:
    return "" if number == 1 else "s"
