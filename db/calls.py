"""The ledger of calls. Order: intent, commit; call; then one transaction with the raw reply and what it says."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Row, text, update

from db import tables
from winnow.calls import Intent, Reply, Usage
from winnow.exceptions import JobStoppedError, WorkerLostError
from winnow.jobs import Spending

_call = tables.Call.__table__

OVERDUE_SECONDS = 900
"""A call that has been under way for longer is nobody's any more, whoever's lease still runs."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """A call about to be made: for whom, and what shapes its reply."""

    request_key: str
    job_id: int
    document_id: int
    prompt_ids: tuple[int, ...]
    model: str
    parameters: dict[str, Any]


# One round trip decides: does the job run, is the worker's lease good, and has nobody had an answer to this request
# yet, or is about to have one.
_INTEND = text("""
    INSERT INTO call (call_key, request_key, job_id, document_id, prompt_ids, worker_id, model, parameters, status)
    SELECT :key || CASE WHEN spoiled.calls = 0 THEN '' ELSE ':' || spoiled.calls END,
        :key, :job, :document, :prompts, :worker, :model, cast(:parameters AS jsonb), 'intended'
    FROM (SELECT count(*) AS calls FROM call WHERE request_key = :key AND status = 'unusable') AS spoiled
    WHERE EXISTS (SELECT FROM job WHERE id = :job AND status = 'running')
        AND EXISTS (SELECT FROM worker WHERE id = :worker AND lease_until > clock_timestamp())
    ON CONFLICT (call_key) DO UPDATE SET status = 'intended', attempts = call.attempts + 1, started_at = now(),
        error = NULL, job_id = :job, worker_id = :worker
        WHERE call.status = 'failed' OR (call.status = 'intended' AND (
            call.worker_id = :worker OR call.started_at < now() - make_interval(secs => :overdue)
            OR NOT EXISTS (SELECT FROM worker WHERE worker.id = call.worker_id AND worker.lease_until > now())))
    RETURNING id, coalesce((
        SELECT CASE WHEN state <> 'closed' OR not_before > clock_timestamp() THEN 'held'
            WHEN failures > 0 THEN 'failing' END
        FROM provider WHERE provider.key = :provider), 'clear') AS provider
""")
_BEGIN = text("""
    WITH begun AS (UPDATE call SET started_at = now() WHERE id = :call AND status = 'intended')
    SELECT status, EXISTS (SELECT FROM worker WHERE id = :worker) AS mine FROM job WHERE id = :job
""")
_NEWEST = text("""
    SELECT call.*, job.status AS job_status, EXISTS (SELECT FROM worker WHERE id = :worker) AS mine
    FROM job LEFT JOIN call ON call.request_key = :key
        AND call.status IN ('intended', 'answered')
    WHERE job.id = :job ORDER BY call.id DESC NULLS LAST LIMIT 1
""")


def intend(connection: Connection, order: Order, worker_id: int, provider: str | None = None) -> Intent:
    """Note that a call is about to be made. No two threads of a worker do so for the same request at once.

    Args:
        provider: the key of `db.providers` that is about to be used.

    Returns:
        The intent; with the stored reply where the same request is answered already, so that it is not bought again,
        and `elsewhere` where another worker is asking just this, or where this one's lease has to be renewed first.

    Raises:
        JobStoppedError: the job is not running.
        WorkerLostError: another worker has taken over what this one held.
    """
    values = {
        "key": order.request_key, "job": order.job_id, "document": order.document_id,
        "prompts": list(order.prompt_ids), "worker": worker_id, "model": order.model,
        "parameters": json.dumps(order.parameters), "overdue": OVERDUE_SECONDS,
        "provider": provider,
    }  # fmt: skip
    intended = connection.execute(_INTEND, values).one_or_none()
    if intended is not None:
        return Intent(call_id=intended.id, provider=intended.provider)
    row = connection.execute(_NEWEST, values).one()
    _check_may_ask(row.job_status, row.mine)
    if row.id is None or row.status == "intended":
        return Intent(call_id=row.id or 0, elsewhere=True)
    return Intent(call_id=row.id, reply=_reply(row))


def begin(connection: Connection, call_id: int, job_id: int, worker_id: int) -> None:
    """Note that a call which had to wait for its provider goes out now.

    Raises:
        JobStoppedError: in the meantime the job was stopped.
        WorkerLostError: in the meantime another worker has taken over.
    """
    row = connection.execute(_BEGIN, {"call": call_id, "job": job_id, "worker": worker_id}).one()
    _check_may_ask(row.status, row.mine)


def _check_may_ask(job_status: str, mine: bool) -> None:
    if job_status != "running":
        raise JobStoppedError(f"the job is {job_status}")
    if not mine:
        raise WorkerLostError("another worker has taken over")


def _reply(row: Row[Any]) -> Reply:
    stored = row.reply
    return Reply(
        raw=stored["raw"], text=stored["text"], refusal=stored["refusal"], finish_reason=row.finish_reason,
        usage=Usage(
            prompt_tokens=row.prompt_tokens, cached_tokens=row.cached_tokens, completion_tokens=row.completion_tokens
        ),
        seconds=row.seconds, probability=row.probability,
    )  # fmt: skip


_KEEP = text("""
    UPDATE call SET status = 'answered', error = NULL, reply = cast(:reply AS json), finish_reason = :finish_reason,
        prompt_tokens = :prompt_tokens, cached_tokens = :cached_tokens, completion_tokens = :completion_tokens,
        probability = :probability, cost = :cost, cost_estimated = :estimated, seconds = :seconds, answered_at = now()
    WHERE id = :call AND status NOT IN ('answered', 'unusable')
""")


def keep_reply(
    connection: Connection, call_id: int, reply: Reply, *, cost: float | None = None, estimated: bool = False
) -> None:
    """Store a reply as it came, with what it cost in US dollars.

    Where two asked the same at once, the first answer stays: extractions rest on it.
    """
    values = {
        "call": call_id,
        "reply": _as_json({"raw": reply.raw, "text": reply.text, "refusal": reply.refusal}),
        "finish_reason": reply.finish_reason,
        "probability": reply.probability,
        "seconds": reply.seconds,
        "cost": cost,
        "estimated": estimated,
        **asdict(reply.usage),
    }
    connection.execute(_KEEP, values)


def _as_json(whole: dict[str, Any]) -> str:
    try:
        return json.dumps(whole, allow_nan=False)
    except ValueError:  # NaN and Infinity are no JSON: as text
        return json.dumps(json.loads(json.dumps(whole), parse_constant=str))


def reject(connection: Connection, call_id: int, error: str) -> None:
    """Note that a stored reply is no answer: it was paid for, but may be asked again."""
    answered = (_call.c.id == call_id, _call.c.status == "answered")
    connection.execute(update(_call).where(*answered).values(status="unusable", error=error))


def keep_failure(connection: Connection, call_id: int, error: str) -> None:
    """Note that a call brought no reply."""
    connection.execute(
        update(_call).where(_call.c.id == call_id, _call.c.status == "intended").values(status="failed", error=error)
    )


_SUMS = """
    count(*) AS calls, coalesce(sum(prompt_tokens), 0) AS prompt_tokens,
    coalesce(sum(cached_tokens), 0) AS cached_tokens, coalesce(sum(completion_tokens), 0) AS completion_tokens,
    sum(cost) AS cost, count(*) FILTER (WHERE cost_estimated) AS estimated
"""
_BOUGHT = "call.job_id = :job AND call.reply IS NOT NULL"


def spending(connection: Connection, job_id: int) -> Spending:
    """What a job has bought. Replies that other jobs had paid for cost it nothing."""
    row = connection.execute(text(f"SELECT {_SUMS} FROM call WHERE {_BOUGHT}"), {"job": job_id}).one()
    return Spending(**row._mapping)


def spending_by(connection: Connection, job_id: int, what: str) -> list[tuple[str, Spending]]:
    """What a job has bought per document, variable or model, the most expensive first.

    A call that asks several variables counts for each of them, with an even share of its tokens and of its cost.
    """
    by = {
        "document": f"SELECT document.name, {_SUMS} FROM call JOIN document ON document.id = call.document_id",
        "model": f"SELECT call.model, {_SUMS} FROM call",
        "variable": f"""
            SELECT variable.name, {_SUMS} FROM (
                SELECT asked.prompt_id, call.job_id, call.reply, cost_estimated, cost / cardinality(prompt_ids) AS cost,
                    {_share("prompt_tokens")}, {_share("cached_tokens")}, {_share("completion_tokens")}
                FROM call CROSS JOIN unnest(prompt_ids) WITH ORDINALITY AS asked (prompt_id, nth)
            ) AS call JOIN prompt ON prompt.id = call.prompt_id JOIN variable ON variable.id = prompt.variable_id""",
    }[what]
    query = f"{by} WHERE {_BOUGHT} GROUP BY 1 ORDER BY cost DESC NULLS LAST, prompt_tokens DESC, 1"
    return [(row[0], _spending(row)) for row in connection.execute(text(query), {"job": job_id})]


def _share(column: str) -> str:
    """An even share in whole tokens: those of all variables of a call add up to the call's."""
    until = f"{column} * {{nth}} / cardinality(prompt_ids)"
    return f"{until.format(nth='nth')} - {until.format(nth='(nth - 1)')} AS {column}"


def _spending(row: Row[Any]) -> Spending:
    return Spending(**{field: row._mapping[field] for field in Spending.__dataclass_fields__})
