"""The ledger of calls. Order: intent, commit; call; then one transaction with the raw reply and what it says."""

import json
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, text, update

from db import tables
from winnow.calls import Intent, Reply, Usage
from winnow.exceptions import JobStoppedError

_call = tables.Call.__table__

# One round trip decides: is the cell open, does its job run, and has nobody had an answer to this request yet.
_INTEND = text("""
    WITH open AS (
        SELECT cell.call_key, cell.request_key FROM cell JOIN job ON job.id = cell.job_id
        WHERE cell.id = :cell AND cell.status = 'pending' AND job.status = 'running'
    )
    INSERT INTO call (call_key, request_key, model, parameters, status)
    SELECT call_key, request_key, :model, cast(:parameters AS jsonb), 'intended' FROM open
    ON CONFLICT (call_key) DO UPDATE
        SET status = 'intended', attempts = call.attempts + 1, started_at = now(), error = NULL
        WHERE call.status IN ('intended', 'failed')
    RETURNING id
""")


def intend(connection: Connection, cell_id: int, *, model: str, parameters: str) -> Intent | None:
    """Note that a cell's call is about to be made. None where the cell has ended in the meantime.

    Args:
        parameters: the model's parameters as JSON.

    Returns:
        The intent; with the stored reply where the same request is answered already, so that it is not bought again.

    Raises:
        JobStoppedError: the job is not running.
    """
    call_id = connection.scalar(_INTEND, {"cell": cell_id, "model": model, "parameters": parameters})
    if call_id is not None:
        return Intent(call_id=call_id)
    row = connection.execute(
        text("""
            SELECT job.status AS job_status, cell.status AS cell_status, call.* FROM cell
            JOIN job ON job.id = cell.job_id LEFT JOIN call ON call.call_key = cell.call_key WHERE cell.id = :cell
        """),
        {"cell": cell_id},
    ).one()
    if row.job_status != "running":
        raise JobStoppedError(f"the job is {row.job_status}")
    return Intent(call_id=row.id, reply=_reply(row)) if row.cell_status == "pending" else None


def _reply(row: Row[Any]) -> Reply:
    stored = row.reply
    return Reply(
        raw=stored["raw"], text=stored["text"], refusal=stored["refusal"], finish_reason=row.finish_reason,
        usage=Usage(
            prompt_tokens=row.prompt_tokens, cached_tokens=row.cached_tokens, completion_tokens=row.completion_tokens
        ),
        seconds=row.seconds,
    )  # fmt: skip


_KEEP = text("""
    UPDATE call SET status = :status, error = :error, reply = cast(:reply AS json), finish_reason = :finish_reason,
        prompt_tokens = :prompt_tokens, cached_tokens = :cached_tokens, completion_tokens = :completion_tokens,
        seconds = :seconds, answered_at = now()
    WHERE id = :call AND (status <> 'answered' OR cast(reply AS text) = :reply)
""")


def keep_reply(connection: Connection, call_id: int, reply: Reply, *, error: str | None = None) -> None:
    """Store a reply as it came. With an `error` it is no answer: it was paid for, but may be asked again.

    Where two asked the same at once, the first answer stays: extractions rest on it.
    """
    values = {
        "call": call_id,
        "status": "unusable" if error else "answered",
        "error": error,
        "reply": _as_json({"raw": reply.raw, "text": reply.text, "refusal": reply.refusal}),
        "finish_reason": reply.finish_reason,
        "seconds": reply.seconds,
        **asdict(reply.usage),
    }
    connection.execute(_KEEP, values)


def _as_json(whole: dict[str, Any]) -> str:
    try:
        return json.dumps(whole, allow_nan=False)
    except ValueError:  # NaN and Infinity are no JSON: as text
        return json.dumps(json.loads(json.dumps(whole), parse_constant=str))


def keep_failure(connection: Connection, call_id: int, error: str) -> None:
    """Note that a call brought no reply."""
    connection.execute(
        update(_call).where(_call.c.id == call_id, _call.c.status == "intended").values(status="failed", error=error)
    )
