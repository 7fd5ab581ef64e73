from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import polars as pl
import pytest

from winnow.codebook import Codebook
from winnow.extractions import (
    DatasetCell,
    DocumentAccount,
    Evidence,
    Extraction,
    FoundValue,
    Mark,
    Place,
    Signals,
    Value,
)
from winnow.frames import long_frame, summary_frame, wide_frame
from winnow.parse_codebook import parse_codebook
from winnow.rows import wide_columns

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def codebook(*variables: dict[str, Any]) -> Codebook:
    return parse_codebook({"project": "p", "variables": [{"instructions": "Find it.", **v} for v in variables]})


def proof(quote: str, mark: Mark = "exact", page: int | None = 1, start: int = 3, **more: Any) -> tuple[Evidence]:
    """One piece of evidence at one place."""
    place = Place(start=start, end=start + len(quote), page=page)
    return (Evidence(quote=quote, mark=mark, places=(place,), **more),)


def cell(
    document: str, variable: str, *values: Value, status: Any = "found", page: int | None = 1, **known: Any
) -> DatasetCell:
    """A cell with its values, each proven by the quote "says VALUE"."""
    found = tuple(FoundValue(value=v, raw=f"raw {v}", evidence=proof(f"says {v}", page=page)) for v in values)
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
    refused = FoundValue(value=None, raw="x", evidence=proof("refused", page=9))
    good = [
        FoundValue(value=v, raw=v, evidence=proof(f"is {v}", page=page)) for v, page in (("A", 2), ("B", 4), ("C", 4))
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
    refused = FoundValue(value=None, raw="x", evidence=proof("refused"))
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
    assert summary_frame([], book).row(0)[3:] == (*[0] * 8, None, None)
    assert wide_frame([], codebook()).columns == ["document"]


def test_long_has_a_row_per_value() -> None:
    extraction = Extraction(
        status="found",
        values=(
            FoundValue(
                value=5.0,
                raw="5 EUR",
                evidence=proof("of 5 EUR", "normalised", page=2),
                confidence=0.4,
            ),
            FoundValue(value=None, raw="six", problem="is not a number"),
        ),
        confidence=0.4,
        signals=Signals(said=0.8),
        detail="two amounts",
        flags=("low_confidence", "several_values"),
    )
    five = DatasetCell(
        document="d", document_hash="hash of d", variable="amount", status="found", extraction=extraction,
        prompt_version=3, job=1, model="m", answered_at=NOON.astimezone(timezone(timedelta(hours=2))),
    )  # fmt: skip
    frame = long_frame([five, no_answer("d", "title")], codebook(TEXT | {"label": "Title"}, NUMBER))
    assert frame.columns == [
        "document", "document_sha256", "variable", "label", "type", "status", "value", "raw_value", "confidence",
        "said", "value_confidence", "flags", "evidence", "mark", "score", "places", "start", "end", "page",
        "prompt_version", "model", "job", "answered_at", "reason",
    ]  # fmt: skip
    flags = "low_confidence; several_values"
    amount = ("d", "hash of d", "amount", None, "number", "found")
    assert frame.rows() == [
        ("d", "hash of d", "title", "Title", "text", "failed", *[None] * 17, "truncated"),
        (
            *amount, "5", "5 EUR", 0.4, 0.8, 0.4, flags, "of 5 EUR", "normalised", 1.0, 1, 3, 11, 2, 3, "m", 1, NOON,
            "two amounts",
        ),
        (*amount, None, "six", 0.4, 0.8, None, flags, *[None] * 7, 3, "m", 1, NOON, "is not a number; two amounts"),
    ]  # fmt: skip


def test_the_surest_of_several_pieces_of_evidence_stands_for_all() -> None:
    given = (
        *proof("abouts", "approximate", page=1, start=9, score=0.9),
        *proof("about", "approximate", page=4, start=90, score=0.95),
        *proof("about", "approximate", page=4, start=90, score=0.95),  # seen twice: chunks overlap
        Evidence(quote="nowhere", mark="absent", score=0),
    )
    found = FoundValue(value="A", raw="A", evidence=given)
    cells = [
        DatasetCell(
            document="d", document_hash="h", variable="title", status="found",
            extraction=Extraction(status="found", values=(found,)),
        )
    ]  # fmt: skip
    places = ["evidence", "mark", "score", "places", "start", "end", "page"]
    assert long_frame(cells, codebook(TEXT)).select(places).rows() == [("about", "approximate", 0.95, 2, 90, 95, 4)]
    assert wide_frame(cells, codebook(TEXT), ["evidence", "page"]).rows() == [("d", "A", "about", 4)]


PROTEST = {"entity": "protest", "definition": "A gathering.", "identified_by": ["place"]}
PLACE = {"name": "place", "type": "text"}


def protests(*variables: dict[str, Any], unit: dict[str, Any] = PROTEST) -> Codebook:
    listed = [{"instructions": "Find it.", **v} for v in (PLACE, *variables)]
    return parse_codebook({"project": "p", "unit_of_observation": unit, "variables": listed})


def of_entity(given: DatasetCell, name: str | None, completeness: Any = "complete") -> DatasetCell:
    """The same cell about an entity of its document; without a name, of a document that has none."""
    known = {"entity": f"id of {name}", "entity_name": name} if name else {}
    return replace(given, **known, completeness=completeness)


def account(document: str, status: Any = "complete", **more: Any) -> DocumentAccount:
    known = {"announced": None, "listed": 0, "rows": 0, "unread": 0, "reason": None}
    return DocumentAccount(document=document, document_hash=f"hash of {document}", status=status, **(known | more))


TWO_PROTESTS = [
    of_entity(cell("a", "place", "Ulm"), "Ulm", "truncated"),
    of_entity(cell("a", "amount", 5.0), "Ulm", "truncated"),
    of_entity(cell("a", "place", "Bonn"), "Bonn", "truncated"),
    of_entity(no_answer("a", "amount", "skipped", "skipped_dependency"), "Bonn", "truncated"),
    of_entity(no_answer("b", "place", "not_asked", "no protest found"), None),
]


def test_wide_has_a_row_per_entity() -> None:
    frame = wide_frame(TWO_PROTESTS, protests(NUMBER))
    assert frame.columns == ["document", "entity_id", "protest", "completeness", "place", "amount"]
    assert frame.rows() == [
        ("a", "id of Ulm", "Ulm", "truncated", "Ulm", 5.0),
        ("a", "id of Bonn", "Bonn", "truncated", "Bonn", None),
    ]


def test_entities_of_one_name_have_a_row_each() -> None:
    one = of_entity(cell("a", "place", "Ulm"), "Ulm")
    frame = wide_frame([one, replace(one, entity="another id")], protests())
    assert frame["entity_id"].to_list() == ["id of Ulm", "another id"]


def test_the_names_of_the_columns_about_the_entity_do_not_repeat() -> None:
    book = protests(
        {"name": "Protest", "type": "text"}, {"name": "entity_id", "type": "text"},
        {"name": "Completeness", "type": "text"},
    )  # fmt: skip
    assert wide_frame([], book).columns == [
        "document", "entity_id", "protest_2", "completeness", "place", "Protest", "entity_id_2", "Completeness_2",
    ]  # fmt: skip
    assert wide_frame([], protests(unit=PROTEST | {"entity": "Document"})).columns[2] == "Document_2"


def test_long_names_the_entity_and_lists_documents_without_one() -> None:
    accounts = [account("a", rows=2), account("b"), account("c", reason="no protest found"), account("d", "failed")]
    frame = long_frame(TWO_PROTESTS, protests(NUMBER), accounts)
    assert frame.columns[:6] == ["document", "document_sha256", "entity_id", "entity", "completeness", "variable"]
    about = ["document", "entity", "completeness", "variable", "status", "reason"]
    assert frame.select(about).rows() == [
        ("a", "Ulm", "truncated", "place", "found", None),
        ("a", "Ulm", "truncated", "amount", "found", None),
        ("a", "Bonn", "truncated", "place", "found", None),
        ("a", "Bonn", "truncated", "amount", "skipped", "skipped_dependency"),
        ("b", None, "complete", "place", "not_asked", "no protest found"),
        ("c", None, "complete", None, None, "no protest found"),
        ("d", None, None, None, "failed", None),
    ]


def test_summary_counts_entities() -> None:
    frame = summary_frame(TWO_PROTESTS, protests(NUMBER))
    assert frame.select("variable", "n", "found", "skipped", "missing_share").rows() == [
        ("place", 2, 2, 0, 0.0),
        ("amount", 2, 1, 1, 0.5),
    ]


def test_summary_counts_what_became_of_each_variable() -> None:
    cells = [
        cell("a", "amount", 1.0, confidence=1.0),
        cell("b", "amount", 2.0, confidence=0.5, flags=("low_confidence",)),
        cell("c", "amount", status="not_stated", confidence=0.6),
        no_answer("d", "amount"),
        no_answer("e", "amount", "skipped", "skipped_dependency"),
        cell("f", "amount", status="unclear", confidence=0.7, flags=("unclear",)),
        cell("g", "amount", status="not_applicable", confidence=0.7),
        no_answer("h", "amount", "not_asked", None),
    ]
    frame = summary_frame(cells, codebook(NUMBER, TEXT))
    assert frame.columns == [
        "variable", "label", "type", "n", "found", "not_stated", "not_applicable", "unclear", "flagged", "failed",
        "skipped", "missing_share", "mean_confidence",
    ]  # fmt: skip
    assert frame.row(0) == ("amount", None, "number", 8, 2, 1, 1, 1, 2, 1, 1, 0.75, pytest.approx(0.7))
    assert frame.row(1) == ("title", None, "text", *[0] * 8, None, None)
