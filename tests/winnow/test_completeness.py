"""The account of a document: complete only where all of it was read, and all that it announces was found."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from winnow.completeness import account
from winnow.extractions import Unread

WHOLE = {
    "document": "monitor.pdf",
    "document_hash": "ab12",
    "failed": None,
    "listing_failed": None,
    "announced": 3,
    "listed": 3,
    "rows": 3,
    "without": 0,
    "asked": True,
    "unread": (),
    "unproved": False,
}


def unread(reason, start=10, end=25):
    return Unread(start=start, end=end, reason=reason)


def test_a_complete_document():
    told = account(**WHOLE)
    assert (told.document, told.document_hash) == ("monitor.pdf", "ab12")
    assert (told.status, told.reason) == ("complete", None)
    assert (told.announced, told.listed, told.rows, told.unread) == (3, 3, 3, 0)


@pytest.mark.parametrize(
    ("more", "status", "reason"),
    [
        pytest.param({"announced": None}, "complete", None, id="nothing announced"),
        pytest.param({"announced": 2}, "complete", None, id="more than announced"),
        pytest.param({"announced": 0, "listed": 0, "rows": 0}, "complete", None, id="none, as it says"),
        pytest.param({"announced": None, "listed": None, "rows": 1}, "complete", None, id="a row for the document"),
        pytest.param({"announced": 4}, "uncertain", "it announces 4 and 3 were found", id="fewer than announced"),
        pytest.param({"rows": 1}, "uncertain", "2 of 3 have no row yet", id="rows missing"),
        pytest.param({"without": 2}, "uncertain", "2 cells have no answer", id="cells missing"),
        pytest.param({"asked": False}, "uncertain", "nothing was asked about it yet", id="not asked"),
        pytest.param(
            {"unproved": True},
            "uncertain",
            "entries were left out whose evidence is not in the document",
            id="entries without evidence",
        ),
        pytest.param(
            {"unread": [unread("truncated")]},
            "truncated",
            "truncated: characters 10 to 25 were not read",
            id="cut short",
        ),
        pytest.param(
            {"unread": [unread("too_long")]}, "truncated", "too_long: characters 10 to 25 were not read", id="too long"
        ),
        pytest.param(
            {"unread": [unread("refused")]}, "uncertain", "refused: characters 10 to 25 were not read", id="refused"
        ),
        pytest.param(
            {"unread": [unread("malformed", 0, 5), unread("truncated")], "announced": 9},
            "truncated",
            "malformed: characters 0 to 5 were not read; truncated: characters 10 to 25 were not read; "
            "it announces 9 and 3 were found",
            id="several doubts",
        ),
        pytest.param(
            {"failed": "no_text", "asked": False, "announced": None, "listed": None, "rows": 0},
            "failed",
            "no_text",
            id="no text",
        ),
        pytest.param(
            {"listing_failed": "malformed", "announced": None, "listed": None, "rows": 0},
            "failed",
            "malformed",
            id="no list",
        ),
        pytest.param(
            {"listing_failed": "truncated", "announced": None, "listed": None, "rows": 0},
            "truncated",
            "truncated",
            id="every list cut",
        ),
    ],
)
def test_what_a_document_comes_to(more, status, reason):
    told = account(**WHOLE | more)
    assert (told.status, told.reason) == (status, reason)


def test_no_more_than_three_stretches_are_told():
    told = account(**WHOLE | {"unread": [unread("truncated", at, at + 5) for at in range(0, 100, 10)]})
    assert told.unread == 50
    assert told.reason.count("were not read") == 3


STRETCHES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=6)


@settings(deadline=None, database=None)
@given(STRETCHES)
def test_characters_count_once_however_stretches_overlap(stretches):
    told = account(**WHOLE | {"unread": [unread("refused", start, start + length) for start, length in stretches]})
    assert told.unread == len({at for start, length in stretches for at in range(start, start + length)})


DOUBTS = st.fixed_dictionaries(
    {},
    optional={
        "announced": st.integers(4, 9),
        "rows": st.integers(0, 2),
        "without": st.integers(1, 9),
        "asked": st.just(False),
        "unproved": st.just(True),
        "unread": st.just([unread("truncated")]),
        "failed": st.just("no_text"),
        "listing_failed": st.just("malformed"),
    },
)


@settings(deadline=None, database=None)
@given(DOUBTS)
def test_a_document_is_complete_only_without_any_doubt(doubts):
    told = account(**WHOLE | doubts)
    assert (told.status == "complete") == (not doubts) == (told.reason is None)
    assert (told.status == "failed") == bool({"failed", "listing_failed"} & doubts.keys())
