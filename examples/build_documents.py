"""Rebuild the PDF and DOCX files of the example corpus from the texts in ``sources/``.

Run ``python examples/build_documents.py`` (needs fpdf2, python-docx and PyYAML). The output is the same, byte
for byte, on every run: dates, authors and identifiers in the files are fixed. The HTML, TXT, Markdown
and e-mail documents of the corpus are kept by hand and are not touched.

A source begins with settings in YAML (see ``Design``), followed by plain text in blocks parted by blank
lines. How a block begins tells what it is:

    # Title, ## Heading     heading of the first or second level
    ~ line, ~> line         lines kept as they are (addresses, label lines), left or right
    ~ &                     room for a signature
    | cell | cell |         table; ``|!`` begins a header row
    - item                  bullet list
    1.1 text                numbered clause with hanging indent
    ---                     rule (in DOCX files an empty line)
    anything else           paragraph; its line breaks are not kept

``**bold**`` works everywhere.
"""

from __future__ import annotations

import datetime
import io
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import yaml
from docx import Document
from docx.document import Document as DocxDocument
from docx.enum.text import WD_ALIGN_PARAGRAPH
from docx.oxml.ns import qn
from docx.shared import Mm, Pt, RGBColor
from docx.text.paragraph import Paragraph
from fpdf import FPDF, XPos, YPos
from fpdf.fonts import FontFace

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "sources"
DOCUMENTS = HERE / "grants" / "documents"
CLAUSE = re.compile(r"^(\d+\.\d+)\s+")
NUMBER = re.compile(r"^[\d.,]+( €)?$")
BOLD = re.compile(r"\*\*(.+?)\*\*")

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Block:
    """One block of a source: its kind and its content as lines or table rows."""

    kind: str  # title, heading, lines, table, bullets, clause, rule, paragraph
    lines: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    header: bool = False
    right: bool = False


@dataclass(frozen=True)
class Design:
    """Looks and metadata of one document."""

    date: datetime.date
    title: str
    issuer: str
    letterhead: tuple[str, ...]
    layout: str = "centred"  # centred, left, banner, din or plain
    font: str = "Times"
    size: float = 11
    margin: float = 25
    colour: Colour = (40, 40, 40)
    footer: str = ""  # at the foot of each page
    page_label: str = "Page {page} of {{nb}}"
    language: str = "en-GB"
    justify: bool = False
    widths: tuple[int, ...] = ()  # relative column widths, for tables of as many columns

    @property
    def time(self) -> datetime.datetime:
        return datetime.datetime.combine(self.date, datetime.time(9), datetime.UTC)


def read_source(text: str) -> tuple[str, Design, list[Block]]:
    """Split a source into the format it is made for, its design and its blocks."""
    _, head, body = text.split("---\n", 2)
    settings = yaml.safe_load(head)
    suffix = settings.pop("format")
    settings = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    return suffix, Design(**settings), parse(body)


def parse(text: str) -> list[Block]:
    """Split a source into blocks."""
    return [parse_block(chunk.split("\n")) for chunk in re.split(r"\n\s*\n", text.strip("\n"))]


def parse_block(lines: list[str]) -> Block:
    first = lines[0]
    if first.startswith("#"):
        marks, text = first.split(maxsplit=1)
        return Block("title" if marks == "#" else "heading", (text,))
    if first == "---":
        return Block("rule")
    if first.startswith("~"):
        mark = "~> " if first.startswith("~> ") else "~ "
        return Block("lines", tuple(line[len(mark) :] for line in lines), right=mark == "~> ")
    if first.startswith("|"):
        cells = (line.lstrip("|!").rstrip("|").split("|") for line in lines)
        rows = tuple(tuple(cell.strip() for cell in row) for row in cells)
        return Block("table", rows=rows, header=first.startswith("|!"))
    if first.startswith("- "):
        return Block("bullets", tuple(line[2:] for line in lines))
    return Block("clause" if CLAUSE.match(first) else "paragraph", (" ".join(lines),))


class Letter(FPDF):
    """A PDF in one of five layouts, set in the core fonts so that no font file is needed."""

    def __init__(self, design: Design) -> None:
        super().__init__(format="A4")
        self.design = design
        self.leading = design.size * 0.46
        self.core_fonts_encoding = "windows-1252"
        self.set_creation_date(design.time)
        self.set_producer("Winnow example corpus")
        self.set_title(design.title)
        self.set_author(design.issuer)
        self.set_lang(design.language)
        self.set_margins(design.margin, 20)
        self.set_auto_page_break(True, margin=24)
        self.c_margin = 0
        self.add_page()
        self.letterhead()

    def plain(self, style: str = "", scale: float = 1.0) -> None:
        self.set_font(self.design.font, style, self.design.size * scale)
        self.set_text_color(25)

    def tinted(self, style: str, scale: float) -> None:
        self.plain(style, scale)
        self.set_text_color(*self.design.colour)

    def put(self, text: str, align: str = "L", height: float = 0, width: float = 0) -> None:
        """Write a text over the width that is left and go to the next line."""
        height = height or self.leading
        self.multi_cell(width, height, text, align=align, markdown=True, new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def rule(self, thickness: float = 0.3) -> None:
        self.set_draw_color(*self.design.colour)
        self.set_line_width(thickness)
        self.line(self.l_margin, self.get_y(), self.w - self.r_margin, self.get_y())

    def header(self) -> None:
        if self.page > 1:
            self.tinted("", 0.8)
            self.put(f"{self.design.issuer} · {self.design.title}")
            self.rule(0.2)
            self.ln(6)

    def footer(self) -> None:
        self.set_y(-16)
        self.tinted("", 0.75)
        label = self.design.page_label.format(page=self.page)
        self.put("   ·   ".join(part for part in (self.design.footer, label) if part), "C")

    def letterhead(self) -> None:
        name, *rest = self.design.letterhead
        layout = self.design.layout
        if layout == "banner":
            self.set_fill_color(*self.design.colour)
            self.rect(0, 0, self.w, 30, style="F")
            self.set_fill_color(255)
            self.set_y(9)
            self.plain("B", 1.9)
            self.set_text_color(255)
            self.put(name, height=8)
            self.set_font(self.design.font, "", self.design.size)
            self.put(" · ".join(rest))
            self.set_y(38)
            return
        align = {"centred": "C", "din": "R"}.get(layout, "L")
        small = rest.pop() if layout == "din" else ""
        self.tinted("B", 1.7)
        self.put(name, align, 8)
        for line in rest:
            self.tinted("I" if layout == "left" else "", 0.95)
            self.put(line, align)
        self.ln(2)
        if layout != "din":
            self.rule(0.5)
        self.ln(8)
        if small:
            self.tinted("U", 0.7)
            self.put(small)
            self.ln(3)

    def add(self, block: Block) -> None:
        """Draw one block of the source."""
        self.plain()
        if block.kind == "title":
            self.tinted("B", 1.5)
            self.put(block.lines[0], height=self.leading * 1.5)
            self.ln(3)
        elif block.kind == "heading":
            if self.will_page_break(self.leading * 5):
                self.add_page()
            self.ln(1.5)
            self.tinted("B", 1.1)
            self.put(block.lines[0])
            self.ln(1.5)
        elif block.kind == "table":
            self.add_table(block)
        elif block.kind == "rule":
            self.ln(2)
            self.rule()
            self.ln(4)
        else:
            self.add_text(block)
            self.ln(self.leading * 0.6)

    def add_text(self, block: Block) -> None:
        align = "J" if self.design.justify else "L"
        if block.kind == "lines":
            for line in block.lines:
                if line == "&":
                    self.ln(self.leading * 2.5)
                else:
                    self.put(line, "R" if block.right else "L")
        elif block.kind == "bullets":
            for line in block.lines:
                self.hang("•", line, 5, align)
        elif block.kind == "clause":
            number, text = block.lines[0].split(maxsplit=1)
            self.hang(number, text, 10, align)
        else:
            self.put(block.lines[0], align)

    def hang(self, mark: str, text: str, indent: float, align: str) -> None:
        """Write a text with a mark in the margin to its left."""
        if self.will_page_break(self.leading * 2):
            self.add_page()
            self.plain()
        self.cell(indent, self.leading, mark)
        self.put(text, align, width=self.epw - indent)

    def add_table(self, block: Block) -> None:
        columns = len(block.rows[0])
        self.set_draw_color(*self.design.colour)
        self.set_line_width(0.2)
        with self.table(
            borders_layout="HORIZONTAL_LINES" if block.header else "NONE",
            col_widths=self.design.widths if columns == len(self.design.widths) else (1,) * columns,
            first_row_as_headings=block.header,
            headings_style=FontFace(emphasis="BOLD", color=self.design.colour, fill_color=(236, 240, 240)),
            line_height=self.leading * 1.25,
            padding=0.6,
        ) as table:
            for cells in block.rows:
                row = table.row()
                if not any(cells[1:]):  # a heading over the whole width
                    row.cell(cells[0], colspan=columns, align="LEFT")
                    continue
                for cell, last in zip(cells, block.rows[-1], strict=True):
                    row.cell(cell, align="RIGHT" if NUMBER.match(last) else "LEFT")
        self.ln(4)


def build_pdf(design: Design, blocks: list[Block]) -> bytes:
    letter = Letter(design)
    for block in blocks:
        letter.add(block)
    return bytes(letter.output())


def set_font(document: DocxDocument, design: Design) -> None:
    """Give the styles in use the font, size and colour of the design."""
    for name, scale in (("Normal", 1.0), ("Heading 1", 1.6), ("Heading 2", 1.1)):
        style = document.styles[name]
        style.font.name = design.font
        style.font.size = Pt(round(design.size * scale))
        fonts = style.element.get_or_add_rPr().get_or_add_rFonts()
        for key in list(fonts.attrib):
            if key.endswith("Theme"):
                del fonts.attrib[key]
        for key in ("w:ascii", "w:hAnsi", "w:cs"):
            fonts.set(qn(key), design.font)
        if name != "Normal":
            style.font.color.rgb = RGBColor(*design.colour)
    document.styles["Normal"].paragraph_format.space_after = Pt(7)


def add_runs(paragraph: Paragraph, text: str) -> Paragraph:
    """Write a text into a paragraph, ``**so**`` marked parts in bold."""
    for index, part in enumerate(BOLD.split(text)):
        if part:
            paragraph.add_run(part).bold = True if index % 2 else None
    return paragraph


def add_docx_block(document: DocxDocument, design: Design, block: Block) -> None:
    if block.kind in ("title", "heading"):
        document.add_heading(block.lines[0], level=1 if block.kind == "title" else 2)
    elif block.kind == "table":
        add_docx_table(document, block)
    elif block.kind == "rule":
        document.add_paragraph()
    elif block.kind == "bullets":
        for line in block.lines:
            add_runs(document.add_paragraph(style="List Bullet"), line)
    elif block.kind == "lines":
        for index, line in enumerate(block.lines):
            paragraph = add_runs(document.add_paragraph(), line.replace("&", ""))
            last = index == len(block.lines) - 1
            paragraph.paragraph_format.space_after = Pt(36 if line == "&" else 10 if last else 0)
            if block.right:
                paragraph.alignment = WD_ALIGN_PARAGRAPH.RIGHT
    else:
        paragraph = add_runs(document.add_paragraph(), CLAUSE.sub("\\1\t", block.lines[0]))
        if design.justify:
            paragraph.alignment = WD_ALIGN_PARAGRAPH.JUSTIFY
        if block.kind == "clause":
            paragraph.paragraph_format.left_indent = Pt(30)
            paragraph.paragraph_format.first_line_indent = Pt(-30)
            paragraph.paragraph_format.tab_stops.add_tab_stop(Pt(30))


def add_docx_table(document: DocxDocument, block: Block) -> None:
    table = document.add_table(rows=0, cols=len(block.rows[0]))
    if block.header:
        table.style = "Table Grid"
    for number, cells in enumerate(block.rows):
        for target, text in zip(table.add_row().cells, cells, strict=True):
            paragraph = target.paragraphs[0]
            paragraph.paragraph_format.space_after = Pt(2)
            paragraph.add_run(text).bold = True if block.header and number == 0 else None
            if NUMBER.match(text):
                paragraph.alignment = WD_ALIGN_PARAGRAPH.RIGHT
    document.add_paragraph().paragraph_format.space_after = Pt(0)


def build_docx(design: Design, blocks: list[Block]) -> bytes:
    document = Document()
    set_font(document, design)
    properties = document.core_properties
    properties.author = properties.last_modified_by = design.issuer
    properties.title = design.title
    properties.comments = ""
    properties.language = design.language
    properties.created = properties.modified = design.time.replace(tzinfo=None)
    section = document.sections[0]
    section.page_width, section.page_height = Mm(210), Mm(297)
    section.header.paragraphs[0].text = " · ".join(design.letterhead)
    section.footer.paragraphs[0].text = design.footer
    for name in ("Header", "Footer"):
        document.styles[name].font.color.rgb = RGBColor(*design.colour)
    if design.layout == "centred":
        section.header.paragraphs[0].alignment = WD_ALIGN_PARAGRAPH.CENTER
    for block in blocks:
        add_docx_block(document, design, block)
    buffer = io.BytesIO()
    document.save(buffer)
    return with_fixed_times(buffer.getvalue())


def with_fixed_times(archive: bytes) -> bytes:
    """Pack a ZIP archive anew so that it does not tell when and where it was made."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            new.writestr(entry, old.read(name))
    return buffer.getvalue()


def main() -> None:
    DOCUMENTS.mkdir(parents=True, exist_ok=True)
    for source in sorted(SOURCES.glob("*.txt")):
        suffix, design, blocks = read_source(source.read_text(encoding="utf-8"))
        build = build_pdf if suffix == "pdf" else build_docx
        target = DOCUMENTS / f"{source.stem}.{suffix}"
        target.write_bytes(build(design, blocks))
        print(target.name)


if __name__ == "__main__":
    main()
