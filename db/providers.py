"""What all workers know of a provider key: until when it rests, its circuit breaker, and the places of its limits.

By the database's clock. Every function is one statement; run it on `db.session.at_once`, so that the key's row is
locked for the statement alone.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, text

OPENS_AFTER = 5
"""Failures in a row that open the breaker."""

CLOSES_AFTER = 3
"""Probes in a row that must succeed to close it."""

OPEN_SECONDS = 30.0
"""How long an open breaker lets nobody through. Then it is half open: one probe at a time."""

_AHEAD = 1.0  # seconds: no place is given further ahead, so that little is lost with a worker that dies or stops
_BEHIND = 0.25  # seconds: places that nobody took in time are given so much later, and no later
_AGAIN = 0.25  # seconds between looks whether a probe of someone else has ended


@dataclass(frozen=True)
class Place:
    """What a caller got: to go on after `wait` seconds, or (not `given`) to ask again after them."""

    wait: float = 0.0
    given: bool = True
    probe: bool = False  # the call tries whether the provider is back
    held: bool = False  # everyone has to wait: the provider rests or its breaker is open


def register(connection: Connection, key: str) -> None:
    """Make sure that the key has its row."""
    connection.execute(text("INSERT INTO provider (key) VALUES (:key) ON CONFLICT DO NOTHING"), {"key": key})


# The row is locked first and the clock read afterwards: to wait for the lock takes time.
_TAKE = text("""
    WITH known AS (SELECT * FROM provider WHERE key = :key FOR UPDATE),
    timed AS (SELECT *, clock_timestamp() AS at FROM known),
    due AS (
        SELECT *, greatest(next_request, next_tokens, at - make_interval(secs => :behind)) AS place,
            CASE WHEN not_before > at THEN not_before
                WHEN state = 'open' AND opened_at + make_interval(secs => :open) > at
                    THEN opened_at + make_interval(secs => :open)
                WHEN state = 'half_open' AND probe_until > at
                    THEN least(probe_until, at + make_interval(secs => :again)) END AS held_until
        FROM timed),
    decided AS (
        SELECT *, held_until IS NULL AND place <= at + make_interval(secs => :ahead) AS given FROM due),
    taken AS (
        UPDATE provider SET
            next_request = coalesce(
                place + make_interval(secs => 60 / cast(:requests AS float8)), provider.next_request),
            next_tokens = coalesce(
                place + make_interval(secs => :tokens * 60 / cast(:tokens_per_minute AS float8)), provider.next_tokens),
            successes = CASE WHEN decided.state = 'open' THEN 0 ELSE provider.successes END,
            state = CASE WHEN decided.state = 'open' THEN 'half_open' ELSE provider.state END,
            probe_until = CASE WHEN decided.state <> 'closed' THEN at + make_interval(secs => :probe) END
        FROM decided WHERE provider.key = decided.key AND given)
    SELECT given, held_until IS NOT NULL AS held, given AND state <> 'closed' AS probe,
        extract(epoch FROM CASE WHEN given THEN place ELSE
            coalesce(held_until, place - make_interval(secs => :ahead / 2)) END - at) AS wait
    FROM decided
""")


def take(
    connection: Connection,
    key: str,
    *,
    requests_per_minute: int | None = None,
    tokens_per_minute: int | None = None,
    tokens: int = 0,
    probe_seconds: float = 150.0,
) -> Place:
    """Take a place for one call.

    Calls get places one after the other, as far apart as the limits ask for, without bursts: providers count by the
    second what they allow in a minute.

    Args:
        tokens: that the call is expected to use.
        probe_seconds: a probe that has not ended by then is nobody's any more.
    """
    values = {
        "key": key, "requests": requests_per_minute, "tokens_per_minute": tokens_per_minute, "tokens": float(tokens),
        "open": OPEN_SECONDS, "probe": probe_seconds, "ahead": _AHEAD, "behind": _BEHIND, "again": _AGAIN,
    }  # fmt: skip
    row = connection.execute(_TAKE, values).one_or_none()
    if row is None:
        return Place()
    return Place(wait=max(0.0, float(row.wait)), given=row.given, probe=row.probe, held=row.held)


def hold(connection: Connection, key: str, seconds: float) -> None:
    """Let nobody call for so long: the provider asked to wait. A shorter wait never shortens a longer one."""
    statement = text("""
        UPDATE provider SET not_before = greatest(not_before, clock_timestamp() + make_interval(secs => :seconds))
        WHERE key = :key
    """)
    connection.execute(statement, {"key": key, "seconds": seconds})


# In an UPDATE every expression sees the row as it was before, also where another transaction had just changed it.
_OPENS = "(CASE state WHEN 'closed' THEN failures + 1 >= :most WHEN 'half_open' THEN :probe ELSE false END)"
_CLOSES = "(:probe AND state = 'half_open' AND successes + 1 >= :enough)"
_PROBE_ENDS = "probe_until = CASE WHEN NOT :probe THEN probe_until END"


def failed(connection: Connection, key: str, *, probe: bool = False) -> None:
    """Count a failure of the provider. It opens the breaker as one of many in a row, or as a probe's."""
    statement = text(f"""
        UPDATE provider SET failures = failures + 1, state = CASE WHEN {_OPENS} THEN 'open' ELSE state END,
            opened_at = CASE WHEN {_OPENS} THEN clock_timestamp() ELSE opened_at END, {_PROBE_ENDS}
        WHERE key = :key
    """)
    connection.execute(statement, {"key": key, "most": OPENS_AFTER, "probe": probe})


def succeeded(connection: Connection, key: str, *, probe: bool = False) -> None:
    """Count a call that the provider answered. While the breaker is not closed, only probes say anything about it."""
    statement = text(f"""
        UPDATE provider SET failures = CASE WHEN :probe OR state = 'closed' THEN 0 ELSE failures END,
            successes = CASE WHEN {_CLOSES} THEN 0 WHEN :probe AND state = 'half_open' THEN successes + 1
                ELSE successes END,
            opened_at = CASE WHEN NOT {_CLOSES} THEN opened_at END,
            state = CASE WHEN {_CLOSES} THEN 'closed' ELSE state END, {_PROBE_ENDS}
        WHERE key = :key AND (failures > 0 OR state <> 'closed')
    """)
    connection.execute(statement, {"key": key, "enough": CLOSES_AFTER, "probe": probe})


def give_back(connection: Connection, key: str) -> None:
    """Let another probe begin: this one told nothing of the provider."""
    connection.execute(text("UPDATE provider SET probe_until = NULL WHERE key = :key"), {"key": key})
