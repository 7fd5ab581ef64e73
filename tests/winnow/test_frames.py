from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import polars as pl
import pytest

from winnow.codebook import Codebook
from winnow.extractions import DatasetCell, Evidence, Extraction, FoundValue, Value
from winnow.frames import long_frame, summary_frame, wide_columns, wide_frame
from winnow.parse_codebook import parse_codebook

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def codebook(*variables: dict[str, Any]) -> Codebook:
    return parse_codebook({"project": "p", "variables": [{"instructions": "Find it.", **v} for v in variables]})


def cell(
    document: str, variable: str, *values: Value, status: Any = "found", page: int | None = 1, **known: Any
) -> DatasetCell:
    """A cell with its values, each proven by the quote "says VALUE"."""
    found = tuple(
        FoundValue(value=v, raw=f"raw {v}", evidence=Evidence(quote=f"says {v}", mark="exact", page=page))
        for v in values
    )
    extraction = Extraction(status=status, values=found, **({"confidence": 0.9} | known))
    return DatasetCell(
        document=document, document_hash=f"hash of {document}", variable=variable, status=status,
        extraction=extraction, prompt_version=2, job=7, model="m", answered_at=NOON,
    )  # fmt: skip


def no_answer(document: str, variable: str, status: str = "failed", reason: str | None = "truncated") -> DatasetCell:
    return DatasetCell(
        document=document, document_hash=f"hash of {document}", variable=variable, status=status, reason=reason
    )


TEXT = {"name": "title", "type": "text"}
NUMBER = {"name": "amount", "type": "number"}
DATE = {"name": "day", "type": "date"}
BOOLEAN = {"name": "open", "type": "boolean"}
CATEGORY = {"name": "field", "type": "category", "categories": [{"value": "law"}, {"value": "art"}]}
PEOPLE = {"name": "people", "type": "text", "max_values": 3, "if_multiple_values": "all"}


def test_wide_has_a_row_per_document_and_real_types() -> None:
    frame = wide_frame(
        [
            cell("b.pdf", "amount", 5.0),
            cell("b.pdf", "title", "Übersicht"),
            cell("b.pdf", "day", "2024-02-29"),
            cell("b.pdf", "open", True),
            cell("b.pdf", "field", "law"),
            cell("a.pdf", "amount", 2),
            cell("a.pdf", "people", "Ada", "Bo"),
        ],
        codebook(TEXT, NUMBER, DATE, BOOLEAN, CATEGORY, PEOPLE),
    )
    assert dict(frame.schema) == {
        "document": pl.String, "title": pl.String, "amount": pl.Float64, "day": pl.Date, "open": pl.Boolean,
        "field": pl.String, "people": pl.String,
    }  # fmt: skip
    assert frame.rows() == [
        ("b.pdf", "Übersicht", 5.0, date(2024, 2, 29), True, "law", None),
        ("a.pdf", None, 2.0, None, None, None, "Ada; Bo"),
    ]


@pytest.mark.parametrize("partial", ["2024-02", "2024", "2024-02-30", "2024-W05-3", "20240229"])
def test_dates_are_text_where_one_is_not_a_full_date(partial: str) -> None:
    frame = wide_frame([cell("a", "day", "2024-02-01"), cell("b", "day", partial)], codebook(DATE))
    assert frame["day"].to_list() == ["2024-02-01", partial]


def test_a_value_from_before_the_type_changed_makes_the_column_text() -> None:
    frame = wide_frame([cell("a", "amount", "many"), cell("b", "amount", 3.0)], codebook(NUMBER))
    assert frame["amount"].to_list() == ["many", "3"]


def test_only_variables_that_keep_all_values_are_joined() -> None:
    numbers = {"name": "years", "type": "number", "max_values": 3}
    cells = [cell("a", "years", 1990.0, 2.5)]
    first = wide_frame(cells, codebook(numbers))
    everything = wide_frame(cells, codebook(numbers | {"if_multiple_values": "all"}))
    assert first["years"].to_list() == [1990.0]
    assert everything["years"].to_list() == ["1990; 2.5"]


def test_the_type_of_a_column_does_not_hang_on_how_many_values_were_found() -> None:
    years = {"name": "years", "type": "number", "max_values": 3, "if_multiple_values": "all"}
    frame = wide_frame([cell("a", "years", 5.0)], codebook(years), ["page"])
    assert frame.rows() == [("a", "5", "1")]


def test_extras_follow_their_variable_in_a_fixed_order() -> None:
    frame = wide_frame(
        [cell("a", "title", "T", page=3), no_answer("b", "title")], codebook(TEXT, NUMBER), {"status", "confidence"}
    )
    assert frame.columns == [
        "document", "title", "title_confidence", "title_status", "amount", "amount_confidence", "amount_status",
    ]  # fmt: skip
    assert frame.row(0) == ("a", "T", 0.9, "found", None, None, None)
    assert frame.row(1) == ("b", None, None, "failed", None, None, None)


def test_evidence_and_pages_stand_behind_the_value_shown() -> None:
    refused = FoundValue(value=None, raw="x", evidence=Evidence(quote="refused", mark="exact", page=9))
    good = [
        FoundValue(value=v, raw=v, evidence=Evidence(quote=f"is {v}", mark="exact", page=page))
        for v, page in (("A", 2), ("B", 4), ("C", 4))
    ]
    cells = [
        DatasetCell(
            document="d", document_hash="h", variable=name, status="found",
            extraction=Extraction(status="found", values=(refused, *good)),
        ) for name in ("title", "people")
    ]  # fmt: skip
    frame = wide_frame(cells, codebook(TEXT, PEOPLE), ["evidence", "page"])
    assert frame.row(0) == ("d", "A", "is A", 2, "A; B; C", "is A | is B | is C", "2; 4")


def test_a_default_has_no_evidence() -> None:
    refused = FoundValue(value=None, raw="x", evidence=Evidence(quote="refused", mark="exact"))
    extraction = Extraction(status="found", values=(refused,), default="none")
    cells = [DatasetCell(document="d", document_hash="h", variable="title", status="found", extraction=extraction)]
    assert wide_frame(cells, codebook(TEXT), ["evidence"]).row(0) == ("d", "none", None)
    assert long_frame(cells, codebook(TEXT)).select("value", "raw_value", "reason").rows() == [
        (None, "x", None),
        ("none", None, "default of the codebook"),
    ]


def test_names_that_would_repeat_get_numbers() -> None:
    book = codebook(
        {"name": "Document", "type": "text"},
        {"name": "document_2", "type": "text"},
        {"name": "amount", "type": "number"},
        {"name": "amount_page", "type": "text"},
    )
    names = [column.name for column in wide_columns(book, ["page"])]
    assert names == [
        "document", "Document_3", "Document_3_page", "document_2", "document_2_page", "amount", "amount_page_2",
        "amount_page", "amount_page_page",
    ]  # fmt: skip
    frame = wide_frame([cell("d", "Document", "inner")], book, ["page"])
    assert frame.columns == names
    assert frame.row(0)[:3] == ("d", "inner", 1)


def test_documents_of_one_name_and_two_contents_have_two_rows() -> None:
    one = cell("a", "title", "1")
    two = DatasetCell(document="a", document_hash="other", variable="title", status="not_stated")
    assert wide_frame([one, two], codebook(TEXT)).rows() == [("a", "1"), ("a", None)]


def test_cells_of_variables_that_left_the_codebook_are_left_out() -> None:
    cells = [cell("a", "gone", "x"), cell("a", "TITLE", "t")]
    assert wide_frame(cells, codebook(TEXT)).rows() == [("a", "t")]
    assert long_frame(cells, codebook(TEXT))["variable"].to_list() == ["title"]


def test_nothing_gives_empty_tables_with_their_columns() -> None:
    book = codebook(TEXT, NUMBER)
    assert wide_frame([], book).columns == ["document", "title", "amount"]
    assert long_frame([], book).height == 0
    assert summary_frame([], book).row(0)[3:] == (0, 0, 0, 0, 0, None, None)
    assert wide_frame([], codebook()).columns == ["document"]


def test_long_has_a_row_per_value() -> None:
    extraction = Extraction(
        status="found",
        values=(
            FoundValue(
                value=5.0,
                raw="5 EUR",
                evidence=Evidence(quote="of 5 EUR", mark="normalised", start=3, end=11, page=2),
            ),
            FoundValue(value=None, raw="six", problem="is not a number"),
        ),
        confidence=0.4,
        flags=("low_confidence", "several_values"),
    )
    five = DatasetCell(
        document="d", document_hash="hash of d", variable="amount", status="found", extraction=extraction,
        prompt_version=3, job=1, model="m", answered_at=NOON.astimezone(timezone(timedelta(hours=2))),
    )  # fmt: skip
    frame = long_frame([five, no_answer("d", "title")], codebook(TEXT | {"label": "Title"}, NUMBER))
    assert frame.columns == [
        "document", "document_sha256", "variable", "label", "type", "status", "value", "raw_value", "confidence",
        "flags", "evidence", "mark", "start", "end", "page", "prompt_version", "model", "job", "answered_at", "reason",
    ]  # fmt: skip
    flags = "low_confidence; several_values"
    amount = ("d", "hash of d", "amount", None, "number", "found")
    assert frame.rows() == [
        ("d", "hash of d", "title", "Title", "text", "failed", *[None] * 13, "truncated"),
        (*amount, "5", "5 EUR", 0.4, flags, "of 5 EUR", "normalised", 3, 11, 2, 3, "m", 1, NOON, None),
        (*amount, None, "six", 0.4, flags, *[None] * 5, 3, "m", 1, NOON, "is not a number"),
    ]


def test_summary_counts_what_became_of_each_variable() -> None:
    cells = [
        cell("a", "amount", 1.0, confidence=1.0),
        cell("b", "amount", 2.0, confidence=0.5, flags=("low_confidence",)),
        cell("c", "amount", status="not_stated", confidence=0.6),
        no_answer("d", "amount"),
    ]
    frame = summary_frame(cells, codebook(NUMBER, TEXT))
    assert frame.columns == [
        "variable", "label", "type", "n", "found", "not_stated", "flagged", "failed", "missing_share",
        "mean_confidence",
    ]  # fmt: skip
    assert frame.row(0) == ("amount", None, "number", 4, 2, 1, 1, 1, 0.5, pytest.approx(0.7))
    assert frame.row(1) == ("title", None, "text", 0, 0, 0, 0, 0, None, None)
