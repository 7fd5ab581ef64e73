"""The account of the chaos tests (benchmarks/chaos.py) sees what it is there to see."""

import time
from typing import Any

import pytest

from benchmarks.chaos import (
    Stored,
    bought_again,
    contracts,
    differences,
    lost,
    miscounted,
    overtaken,
    protests,
    repeated,
)
from tests.openai_settings import Json

BEGIN = time.monotonic()
EPOCH = time.time() - time.monotonic()


def request(number: int, digest: str, at: float, **more: Any) -> Json:
    return {"number": number, "digest": digest, "at": BEGIN + at, "status": 200, "fault": None, **more}


def stored(at: float, usable: bool = True) -> Stored:
    return Stored(usable, EPOCH + BEGIN + at)


def test_a_request_made_after_its_reply_was_stored_is_bought_again() -> None:
    log = [request(1, "a", 0), request(2, "a", 2)]

    assert bought_again(log, {1: stored(1)}) == ["request 2 was made 1.00 s after its reply was stored"]
    assert bought_again(log, {2: stored(3)}) == []  # the first was lost
    assert bought_again(log, {1: stored(1, usable=False), 2: stored(3)}) == []


def test_a_reply_that_was_paid_for_and_is_not_stored_is_lost() -> None:
    failed = [request(3, "c", 0, status=500), request(4, "d", 0, fault="error_in_200")]

    assert lost([request(1, "a", 0), request(2, "b", 0), *failed], {1: stored(1)}) == [request(2, "b", 0)]


def test_a_request_made_before_the_reply_to_the_same_was_stored_has_overtaken_it() -> None:
    log = [request(1, "a", 0), request(2, "b", 0), request(3, "a", 1), request(4, "b", 1)]

    assert overtaken(log, {1: stored(5), 3: stored(2), 4: stored(2)}) == [request(3, "a", 1)]


@pytest.mark.parametrize(("first", "again"), [({}, 1), ({"status": 429}, 0), ({"fault": "malformed"}, 0)])
def test_a_request_is_repeated_where_it_was_answered_before(first: Json, again: int) -> None:
    assert len(repeated([request(1, "a", 0, **first), request(2, "a", 1)])) == again


def test_datasets_differ_by_a_value_and_by_a_row_that_is_there_twice() -> None:
    row = {"document": "a", "value": "1"}

    assert differences([row], [row]) == []
    assert differences([row], [{**row, "value": "2"}])
    assert differences([row], [row, row])


def test_counts_must_add_up_and_leave_nothing_open() -> None:
    cells = {"total": 3, "extracted": 2, "flagged": 1, "failed": 0, "skipped": 0, "pending": 0}
    job = {"status": "completed", "reason": None, "failures": {}, "cells": cells}

    assert miscounted(job) == []
    assert miscounted({**job, "cells": {**cells, "extracted": 1}})
    assert miscounted({**job, "cells": {**cells, "extracted": 1, "pending": 1}})
    assert miscounted({**job, "status": "paused"})


def test_corpora_are_the_same_whenever_they_are_made() -> None:
    assert contracts("a", 3) == contracts("a", 3) != contracts("b", 3)
    assert protests("a", 3) == protests("a", 3) != protests("b", 3)
