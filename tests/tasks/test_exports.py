import csv
import os
from datetime import UTC, date, datetime

import openpyxl
import polars as pl
import pytest
from openpyxl.utils.escape import unescape

from tasks import workbook, workbook_sheets
from tasks.export_files import ExportOptions, write_csv, write_dataset
from tasks.gold_tables import read_gold, read_gold_entities
from tasks.workbook import write_workbook
from tests.winnow.test_frames import (
    BOOLEAN,
    CATEGORY,
    DATE,
    NUMBER,
    PEOPLE,
    TEXT,
    TWO_PROTESTS,
    account,
    cell,
    codebook,
    no_answer,
    protests,
)
from winnow.exceptions import DefinitionError, WinnowError

FORMULAS = [
    "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1+1", "＋1", "－1", "＠x",
    "=cmd|' /C calc'!A0", '=HYPERLINK("http://evil.example","here")', "-2+3+cmd|' /C calc'!A0",
]  # fmt: skip
HARMLESS = [
    "a=1", " =1", "'quoted'", "00123", "1234567890123456789", "TRUE", "1e5", "2024-01-01", "http://example.org",
    'comma, "quote"; semicolon', "line\nline", "line\r\nline", "tab\there", "naïve 日本語 🙂", "_x0041_", " spaces ",
    "None",
]  # fmt: skip
LONG = "".join(f"{number:06d} " for number in range(10_000))  # 70,000 characters, each piece different


def save(path, cells, book, extras=(), run=(), versions=None, accounts=()):
    write_workbook(
        path, cells=cells, codebook=book, prompt_versions=versions or {}, run=run, extras=extras, accounts=accounts
    )
    return openpyxl.load_workbook(path)


def column(sheet, letter):
    return [row.value for row in sheet[letter][1:]]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "dataset.xlsx"


class TestCsv:
    def test_formulas_are_text_and_all_else_is_as_it_was(self, tmp_path):
        texts = [*FORMULAS, *HARMLESS, "'=x", None]
        write_csv(pl.DataFrame({"text": texts}), tmp_path / "t.csv")
        with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
            read = [row[0] if row else None for row in csv.reader(file)][1:]
        assert read == [*(f"'{text}" for text in FORMULAS), *HARMLESS, "''=x", None]

    def test_reread_by_polars_is_equal(self, tmp_path):
        frame = pl.DataFrame(
            {
                "text": ["a,b", 'q"q', "l\nl", "l\r\nl", "\u2028", None],
                "number": [1e300, -0.1, 5.0, 0.1 + 0.2, 123456789012345678.0, None],
                "day": [date(1, 1, 1), date(1899, 12, 31), date(2024, 2, 29), None, None, date(9999, 12, 31)],
                "open": [True, False, None, True, True, True],
                "at": [datetime(2026, 11, 23, 12, 0, 0, 5, UTC)] * 6,
            }
        )
        write_csv(frame, tmp_path / "t.csv")
        again = pl.read_csv(tmp_path / "t.csv", schema=frame.schema | {"at": pl.Datetime("us", "UTC")})
        assert again.equals(frame)

    def test_negative_numbers_stay_numbers_and_text_does_not(self, tmp_path):
        write_csv(pl.DataFrame({"number": [-5.0], "text": ["-5"]}), tmp_path / "t.csv")
        assert (tmp_path / "t.csv").read_text() == "number,text\n-5.0,'-5\n"

    def test_header_is_guarded_too(self, tmp_path):
        write_csv(pl.DataFrame({"=a": [1], "'=a": [2], 'b,"c"': [3]}), tmp_path / "t.csv")
        assert (tmp_path / "t.csv").read_text() == '\'=a,\'\'=a,"b,""c"""\n1,2,3\n'

    @pytest.mark.parametrize(("bom", "start"), [(True, b"\xef\xbb\xbfu"), (False, b"u\n")])
    def test_byte_order_mark(self, tmp_path, bom, start):
        write_csv(pl.DataFrame({"u": ["ü"]}), tmp_path / "t.csv", bom=bom)
        assert (tmp_path / "t.csv").read_bytes().startswith(start)

    def test_a_failed_write_leaves_the_old_file_and_no_other(self, tmp_path, monkeypatch):
        (tmp_path / "t.csv").write_text("old")
        monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
        with pytest.raises(DefinitionError, match="Permission denied"):
            write_csv(pl.DataFrame({"a": [1]}), tmp_path / "t.csv")
        assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("t.csv", "old")]

    @pytest.mark.parametrize("name", ["missing/t.csv", "."])
    def test_a_place_that_cannot_be_written_to(self, tmp_path, name):
        with pytest.raises(DefinitionError, match="Cannot write"):
            write_csv(pl.DataFrame({"a": [1]}), tmp_path / name)
        assert list(tmp_path.iterdir()) == []


class TestDispatch:
    @pytest.mark.parametrize(("shape", "columns"), [("wide", 2), ("long", 24), ("summary", 13)])
    def test_csv_in_three_shapes(self, tmp_path, shape, columns):
        options = ExportOptions(shape=shape)
        write_dataset(tmp_path / "t.csv", options, cells=[cell("d", "title", "A")], codebook=codebook(TEXT))
        assert pl.read_csv(tmp_path / "t.csv").shape == (1, columns)

    def test_workbook(self, path):
        options = ExportOptions(format="xlsx", extras=["page"])
        write_dataset(path, options, cells=[cell("d", "title", "A")], codebook=codebook(TEXT))
        book = openpyxl.load_workbook(path)
        assert book.sheetnames == ["data", "codebook", "run"]
        assert [[c.value for c in row] for row in book["data"].iter_rows(min_row=2)] == [["d", "A", 1]]

    def test_a_workbook_has_no_other_shape(self, path):
        with pytest.raises(DefinitionError, match="long one is exported as CSV"):
            write_dataset(path, ExportOptions(format="xlsx", shape="long"), cells=[], codebook=codebook(TEXT))


class TestDataSheet:
    def test_types(self, path):
        cells = [
            cell("d", "title", "A"),
            cell("d", "amount", -2.5),
            cell("d", "day", "2024-02-29"),
            cell("d", "open", False),
            cell("d", "field", "law"),
            cell("d", "people", "Ada", "Bo"),
        ]
        sheet = save(path, cells, codebook(TEXT, NUMBER, DATE, BOOLEAN, CATEGORY, PEOPLE))["data"]
        assert [c.value for c in sheet[2]] == ["d", "A", -2.5, datetime(2024, 2, 29), False, "law", "Ada; Bo"]
        assert [c.data_type for c in sheet[2]] == ["s", "s", "n", "d", "b", "s", "s"]
        assert sheet["D2"].number_format == "yyyy-mm-dd"

    def test_header_stays_in_sight_and_filters(self, path):
        sheet = save(path, [cell("d", "title", "A"), cell("e", "title", "B")], codebook(TEXT, NUMBER))["data"]
        assert (sheet.freeze_panes, sheet.auto_filter.ref) == ("B2", "A1:C3")
        assert all(c.font.bold and c.alignment.wrap_text for c in sheet[1])
        assert sheet.column_dimensions["A"].width > 10

    def test_dates_that_excel_cannot_hold_are_text_beside_real_ones(self, path):
        days = ["1899-12-31", "1900-02-28", "1900-03-01", "2024-02", "9999-12-31"]
        sheet = save(path, [cell(day, "day", day) for day in days], codebook(DATE))["data"]
        assert column(sheet, "B") == [
            "1899-12-31", "1900-02-28", datetime(1900, 3, 1), "2024-02", datetime(9999, 12, 31),
        ]  # fmt: skip

    @pytest.mark.parametrize("value", [1e300, 5e-324, 123456789012345.0, float(2**53), 0.1])
    def test_numbers(self, path, value):
        assert save(path, [cell("d", "amount", value)], codebook(NUMBER))["data"]["B2"].value == pytest.approx(value)

    @pytest.mark.parametrize("value", [float("inf"), float("nan")])
    def test_numbers_that_excel_cannot_hold_are_text(self, path, value):
        assert save(path, [cell("d", "amount", value)], codebook(NUMBER))["data"]["B2"].value == str(value)

    def test_text_is_never_a_formula_link_or_number(self, path):
        texts = [text for text in [*FORMULAS, *HARMLESS] if "\r" not in text and text != "_x0041_"]
        sheet = save(path, [cell(f"={n}", "title", text) for n, text in enumerate(texts)], codebook(TEXT))["data"]
        assert column(sheet, "B") == texts
        assert {c.data_type for c in [*sheet["A"], *sheet["B"]]} == {"s"}
        assert {c.number_format for c in sheet["B"][1:]} == {"@"}  # so that editing a cell does not make it one
        assert not sheet._hyperlinks

    def test_control_characters_come_back_as_excel_writes_them(self, path):
        texts = ["a\x01b", "a\rb", "l\r\nl", "_x0041_"]
        sheet = save(path, [cell(str(n), "title", text) for n, text in enumerate(texts)], codebook(TEXT))["data"]
        assert [unescape(text) for text in column(sheet, "B")] == texts

    def test_missing_is_empty_and_colours_tell_why(self, path):
        cells = [
            cell("low", "title", "A", confidence=0.1, flags=("low_confidence",)),
            cell("flagged", "title", "A", flags=("low_confidence", "evidence_absent")),
            cell("unclear", "title", status="unclear", flags=("unclear",)),
            no_answer("failed", "title"),
            no_answer("skipped", "title", "skipped", "skipped_dependency"),
            cell("not stated", "title", status="not_stated"),
            cell("fine", "title", "A"),
            cell("other", "amount", 1.0),
        ]
        book = save(path, cells, codebook(TEXT, NUMBER))
        fills = {row[0].value: (row[1].value, row[1].fill.start_color.rgb) for row in book["data"].iter_rows(min_row=2)}
        assert fills == {
            "low": ("A", "FFFFF2CC"),
            "flagged": ("A", "FFF8CBAD"),
            "unclear": (None, "FFF8CBAD"),
            "failed": (None, "FFD9D9D9"),
            "skipped": (None, "FFE4DFEC"),
            "not stated": (None, "00000000"),
            "fine": ("A", "00000000"),
            "other": (None, "00000000"),
        }
        legend = [(c.value, c.fill.start_color.rgb) for c in book["codebook"]["A"][-5:]]
        assert legend == [
            ("low confidence", "FFFFF2CC"), ("flagged", "FFF8CBAD"), ("failed", "FFD9D9D9"), ("skipped", "FFE4DFEC"),
            ("incomplete", "FFDDEBF7"),
        ]  # fmt: skip

    def test_wrapped_text_makes_no_tall_rows(self, path):
        sheet = save(path, [cell("d", "title", "word " * 400), cell("e", "title", "w")], codebook(TEXT))["data"]
        assert (sheet.row_dimensions[2].height, sheet.row_dimensions[3].height) == (45, None)

    def test_rows_beyond_a_sheet_go_on_in_the_next(self, path, monkeypatch):
        monkeypatch.setattr(workbook, "MAX_ROWS", 4)
        book = save(path, [cell(str(n), "title", "A") for n in range(7)], codebook(TEXT))
        assert book.sheetnames == ["data", "data_2", "data_3", "codebook", "run"]
        sheets = [book[name] for name in book.sheetnames[:3]]
        assert [column(sheet, "A") for sheet in sheets] == [["0", "1", "2"], ["3", "4", "5"], ["6"]]
        assert {(sheet["B1"].value, sheet.freeze_panes) for sheet in sheets} == {("title", "B2")}
        assert [sheet.auto_filter.ref for sheet in sheets] == ["A1:B4", "A1:B4", "A1:B2"]

    def test_too_many_columns_are_refused(self, path, monkeypatch):
        monkeypatch.setattr(workbook, "MAX_COLUMNS", 2)
        with pytest.raises(DefinitionError, match="export CSV"):
            save(path, [], codebook(TEXT, NUMBER))
        assert not path.exists()

    def test_no_documents_and_no_variables(self, path):
        book = save(path, [], codebook())
        assert [[c.value for c in row] for row in book["data"].iter_rows()] == [["document"]]


class TestEntities:
    def test_a_row_per_entity_with_the_completeness_of_its_document(self, path):
        sheet = save(path, TWO_PROTESTS, protests(NUMBER))["data"]
        assert [[c.value for c in row] for row in sheet.iter_rows()] == [
            ["document", "entity_id", "protest", "completeness", "place", "amount"],
            ["a", "id of Ulm", "Ulm", "truncated", "Ulm", 5],
            ["a", "id of Bonn", "Bonn", "truncated", "Bonn", None],
        ]
        fills = [sheet[place].fill.start_color.rgb for place in ("C2", "D2", "E3", "F3")]
        assert fills == ["00000000", "FFDDEBF7", "00000000", "FFE4DFEC"]

    def test_documents_are_accounted_for_also_those_without_a_row(self, path):
        accounts = [
            account("a", "truncated", announced=3, listed=2, rows=2, unread=4100, reason="a part was cut short"),
            account("b", reason="no protest found"),
            account("c", "failed", listed=None, reason="no_text"),
        ]
        cells = [*TWO_PROTESTS, no_answer("c", "place")]
        book = save(path, cells, protests(NUMBER), accounts=accounts)
        assert book.sheetnames == ["data", "documents", "codebook", "run"]
        sheet = book["documents"]
        assert [[c.value for c in row] for row in sheet.iter_rows()] == [
            ["document", "completeness", "rows", "announced", "listed", "found", "not stated", "not applicable",
             "unclear", "flagged", "failed", "skipped", "not asked", "unread characters", "why"],
            ["a", "truncated", 2, 3, 2, 3, 0, 0, 0, 0, 0, 1, 0, 4100, "a part was cut short"],
            ["b", "complete", 0, None, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, "no protest found"],
            ["c", "failed", 0, None, None, 0, 0, 0, 0, 0, 0, 0, 0, 0, "no_text"],
        ]  # fmt: skip
        fills = [sheet[place].fill.start_color.rgb for place in ("B2", "B3", "B4")]
        assert fills == ["FFDDEBF7", "00000000", "FFD9D9D9"]

    def test_documents_as_rows_have_no_columns_about_entities(self, path):
        cells = [cell("a", "title", "T", flags=("unclear",)), cell("a", "amount", status="not_stated")]
        book = save(path, cells, codebook(TEXT, NUMBER), accounts=[account("a", listed=None, rows=1)])
        named = dict(zip(*([c.value for c in row] for row in book["documents"].iter_rows()), strict=True))
        assert "announced" not in named
        assert "listed" not in named
        assert {name: number for name, number in named.items() if number not in (0, None)} == {
            "document": "a", "completeness": "complete", "rows": 1, "found": 1, "not stated": 1, "flagged": 1,
        }  # fmt: skip

    def test_long_csv_lists_documents_without_a_cell(self, tmp_path):
        write_dataset(
            tmp_path / "t.csv", ExportOptions(shape="long"), cells=TWO_PROTESTS, codebook=protests(NUMBER),
            accounts=[account("z", reason="no protest found")],
        )  # fmt: skip
        last = pl.read_csv(tmp_path / "t.csv").row(-1, named=True)
        assert (last["document"], last["variable"], last["reason"]) == ("z", None, "no protest found")


class TestLongTexts:
    @pytest.mark.parametrize(("length", "cut"), [(32_767, False), (32_768, True)])
    def test_the_limit(self, path, length, cut):
        book = save(path, [cell("d", "title", "x" * length)], codebook(TEXT))
        assert ("long_texts" in book.sheetnames) is cut
        assert len(book["data"]["B2"].value) <= 32_767

    def test_all_of_it_is_kept_in_order(self, path):
        cells = [cell("a", "title", "short"), cell("b", "title", LONG), cell("c", "title", LONG.replace("0", "x"))]
        book = save(path, cells, codebook(TEXT))
        sheet = book["long_texts"]
        assert [[c.value for c in row[:3]] for row in sheet.iter_rows()] == [
            ["document", "variable", "part"],
            *(["b", "title", f"{part} of 3"] for part in (1, 2, 3)),
            *(["c", "title", f"{part} of 3"] for part in (1, 2, 3)),
        ]
        assert "".join(column(sheet, "D")) == LONG + LONG.replace("0", "x")
        shown = book["data"]["B4"].value
        assert shown.startswith("xxxxxx xxxxx1")
        assert shown.endswith("… [full text in sheet long_texts, row 5]")

    def test_excel_counts_an_emoji_twice(self, path):
        text = "🙂" * 20_000
        book = save(path, [cell("d", "title", text)], codebook(TEXT))
        assert len(book["data"]["B2"].value.encode("utf-16-le")) // 2 <= 32_767
        assert "".join(column(book["long_texts"], "D")) == text

    def test_long_evidence_and_long_categories_are_kept_too(self, path):
        many = [{"value": f"v{number}", "description": "d" * 1000} for number in range(40)]
        field = {"name": "field", "type": "category", "categories": many}
        book = save(path, [cell("d", "title", LONG)], codebook(TEXT, field), extras=["evidence"])
        kept = {(row[0].value, row[1].value) for row in book["long_texts"].iter_rows(min_row=2)}
        assert kept == {("d", "title"), ("d", "title_evidence"), ("codebook", "field")}

    def test_a_code_that_says_loss_stops_the_export(self, path, monkeypatch):
        monkeypatch.setattr(workbook_sheets, "MAX_TEXT", 10**6)
        with pytest.raises(WinnowError, match="would lose a cell"):
            save(path, [cell("d", "title", "x" * 40_000)], codebook(TEXT))
        assert list(path.parent.iterdir()) == []


class TestOtherSheets:
    def test_codebook(self, path):
        field = CATEGORY | {
            "label": "Field of law",
            "unit": "u",
            "instructions": "=Choose",
            "categories": [{"value": "law", "label": "Law", "description": "All law"}, {"value": "art"}],
        }
        amount = NUMBER | {"validation": {"min": 0, "max": 2.5}}
        cells = [cell("a", "field", "law", confidence=0.5), no_answer("b", "field")]
        book = save(path, cells, codebook(field, amount), versions={"field": 3})
        rows = [[c.value for c in row] for row in book["codebook"].iter_rows(max_row=3)]
        assert rows == [
            ["name", "label", "type", "unit", "instructions", "categories", "validation", "prompt version", "N",
             "found", "not stated", "not applicable", "unclear", "flagged", "failed", "skipped", "missing",
             "mean confidence"],
            ["field", "Field of law", "category", "u", "=Choose", "law (Law): All law\nart", None, 3, 2,
             1, 0, 0, 0, 0, 1, 0, 0.5, 0.5],
            ["amount", None, "number", None, "Find it.", None, "at least 0\nat most 2.5", None, 0,
             0, 0, 0, 0, 0, 0, 0, None, None],
        ]  # fmt: skip

    def test_run(self, path):
        at = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
        run = [("model", "=m"), ("exported", at), ("cells", 1_000_000), ("cost", 0.5), ("first", datetime(1800, 1, 1))]
        sheet = save(path, [], codebook(TEXT), run=run)["run"]
        assert [[c.value for c in row] for row in sheet.iter_rows(min_row=2)] == [
            ["model", "=m"],
            ["exported", datetime(2026, 11, 23, 12, 30)],
            ["cells", 1_000_000],
            ["cost", 0.5],
            ["first", "1800-01-01 00:00:00"],
        ]
        assert sheet["B2"].data_type == "s"
        assert sheet["B3"].number_format == 'yyyy-mm-dd hh:mm "UTC"'


class TestGoldTables:
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
    @pytest.mark.parametrize("separator", [",", ";", "\t"])
    def test_read(self, tmp_path, encoding, separator):
        rows = [
            ["Variable ", "note", "document", "value"],
            ["title", "", "a.pdf", "Über, \u2028 uns"],
            [],
            ["people", "x", "b.pdf", "Ada; Bo;  ;Cy"],
            ["amount", "", "b.pdf", ""],
            ["text", "", "b.pdf", "two\nlines"],
        ]
        with (tmp_path / "gold.csv").open("w", encoding=encoding, newline="") as file:
            csv.writer(file, delimiter=separator).writerows(rows)
        assert read_gold(tmp_path / "gold.csv") == {
            ("a.pdf", "title"): ("Über, \u2028 uns",),
            ("b.pdf", "people"): ("Ada", "Bo", ";Cy"),
            ("b.pdf", "amount"): (),
            ("b.pdf", "text"): ("two\nlines",),
        }

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "is empty"),
            (b"\n\n", "is empty"),
            (b"document,variable\n", "look at value"),
            (b"document,variable,value,value\n", "look at value"),
            (b'document,variable,value\n"a\nb",v,1\n,v,1\n', "line 4: the document or the variable is missing"),
            (b"document,variable,value\na,v,1,2\n", "line 2: there are 4 columns where the header has 3"),
            (b"document,variable,value\na,v\n", "line 2: there are 2 columns where the header has 3"),
            (b"document,variable,value\na,v,1\na, V ,2\n", "line 3: a,  ?V.* stands in line 2 already"),
            (b'document,variable,value\na,v,"1\n', "line 2: this is not CSV"),
            (b"document,variable,value\na,v,\xff\n", "is not UTF-8"),
        ],
    )
    def test_bad_files_say_where(self, tmp_path, content, message):
        (tmp_path / "gold.csv").write_bytes(content)
        with pytest.raises(DefinitionError, match=message):
            read_gold(tmp_path / "gold.csv")

    def test_a_column_names_the_entity(self, tmp_path):
        lines = [
            "entity,document,variable,value",
            "Ulm,a,amount,5",
            "Bonn,a,amount,",
            ",a,language,de",
            "Ulm,a,place,Ulm",
        ]
        (tmp_path / "gold.csv").write_text("\n".join(lines))
        assert read_gold(tmp_path / "gold.csv") == {
            ("a", "amount", "Ulm"): ("5",),
            ("a", "amount", "Bonn"): (),
            ("a", "language"): ("de",),
            ("a", "place", "Ulm"): ("Ulm",),
        }
        assert read_gold_entities(tmp_path / "gold.csv") == {("a", "Ulm"), ("a", "Bonn")}

    def test_an_entity_stands_once_with_a_variable(self, tmp_path):
        (tmp_path / "gold.csv").write_text("document,entity,variable,value\na,Ulm,v,1\na,Bonn,v,1\na,ULM,v,2\n")
        with pytest.raises(DefinitionError, match="line 4: a, v, ULM stands in line 2 already"):
            read_gold(tmp_path / "gold.csv")

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("document,name\na,Ulm\n", "needs the columns document, entity, once each; look at entity"),
            ("document,entity\n ,Ulm\n", "line 2: the document is missing"),
        ],
    )
    def test_bad_lists_of_entities_say_where(self, tmp_path, content, message):
        (tmp_path / "gold.csv").write_text(content)
        with pytest.raises(DefinitionError, match=message):
            read_gold_entities(tmp_path / "gold.csv")

    def test_no_file(self, tmp_path):
        with pytest.raises(DefinitionError, match=r"Cannot read .*No such file"):
            read_gold(tmp_path / "gold.csv")
