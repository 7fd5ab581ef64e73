"""Parsing: real files, made here, and what becomes of each."""

import io
import re
import socket
import zipfile
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from importlib.metadata import version

import docx
import pytest
from fpdf import FPDF
from fpdf.enums import EncryptionMethod

from tasks import parsers
from tasks.parsers import parse_document, pdf
from tasks.parsers.decoding import decode_text
from tasks.parsers.media_types import DOCX, EMAIL, HTML, MARKDOWN, PDF, TEXT, detect_media_type
from winnow.documents import Box, ParsedDocument
from winnow.exceptions import DocumentError

PROSE = "This agreement binds both parties. It takes effect on 1 May 2024, and ends five years later."
HTML_PAGE = f"""<!DOCTYPE html><html><head><title>t</title><script>alert('script')</script><style>p {{}}</style></head>
<body><nav>Menu</nav><h1>Grant letter</h1><p>{PROSE}</p><ul><li>First duty</li><li>Second duty</li></ul>
<table><tr><th>Year</th><th>Sum</th></tr><tr><td>2024</td><td>500<br>EUR</td></tr></table></body></html>"""
MARKDOWN_PAGE = (
    f"# Grant letter\n\n{PROSE}\n\n- First duty\n- Second duty\n\n| Year | Sum |\n|---|---|\n| 2024 | 500 |\n"
)
TEXT_PAGE = f"GRANT LETTER\n\n{PROSE}\n\n- First duty\n- Second duty\n\nThe sum is 500 EUR.\n"
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(64)) * 4
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in this module may open a connection: not unstructured's pings, not spaCy's models, not a DTD."""

    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("a parser opened a network connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


# Makers of files


def make_pdf(*pages: list[tuple[float, float, str]], size: float = 12, password: str = "", owner: str = "") -> bytes:
    """A PDF of A4 pages, each with texts at (x, y of the baseline), in points from the top left."""
    document = FPDF(unit="pt", format="A4")
    if password or owner:
        document.set_encryption(owner, password or None, encryption_method=EncryptionMethod.RC4)
    document.set_font("Helvetica", size=size)
    for page in pages:
        document.add_page()
        for x, y, text in page:
            document.text(x, y, text)
    return bytes(document.output())


def bare_pdf(page: str, content: str, *objects: str, catalog: str = "", fonts: str = "/F 5 0 R") -> bytes:
    """A PDF written by hand, for what fpdf2 does not write. PDFium makes up for the missing index of objects."""
    parts = [
        f"<</Type/Catalog/Pages 2 0 R {catalog}>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        f"<</Type/Page/Parent 2 0 R/Contents 4 0 R/Resources<</Font<<{fonts}>>>> {page}>>",
        f"<</Length {len(content)}>>stream\n{content}\nendstream",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        *objects,
    ]
    body = "\n".join(f"{number} 0 obj{part}\nendobj" for number, part in enumerate(parts, 1))
    return f"%PDF-1.7\n{body}\ntrailer<</Root 1 0 R>>".encode()


def make_docx() -> bytes:
    document = docx.Document()
    document.sections[0].header.paragraphs[0].text = "Ministry of Grants"
    document.add_heading("Grant letter", 1)
    document.add_paragraph(PROSE)
    document.add_paragraph("First duty", style="List Bullet")
    table = document.add_table(2, 2)
    for index, text in enumerate(("Year", "Sum", "2024", "500\nEUR")):
        table.cell(index // 2, index % 2).text = text
    return saved(document)


def saved(document: "docx.document.Document") -> bytes:
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def repacked(data: bytes, *added: tuple[str, bytes], replacing: tuple[bytes, bytes] | None = None) -> bytes:
    """A DOCX again, with entries added, or with bytes replaced in its main part."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            part = source.read(entry)
            if replacing and entry.filename == "word/document.xml":
                part = part.replace(*replacing)
            target.writestr(entry.filename, part)
        for name, part in added:
            target.writestr(name, part)
    return buffer.getvalue()


def make_zip(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return buffer.getvalue()


def make_email() -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Ada Byron <ada@example.org>"
    message["To"] = "Björn Åberg <bjorn@example.org>"
    message["Date"] = "Wed, 01 May 2024 10:00:00 +0200"
    message["Subject"] = "Förderung"
    message.set_content(f"Dear Björn,\n\n{PROSE}\n")
    return message


def blocks_of(document: ParsedDocument) -> list[tuple[str, str]]:
    return [(block.kind, document.text[block.start : block.end]) for block in document.blocks]


def reason_of(data: bytes, name: str = "file") -> str:
    with pytest.raises(DocumentError) as caught:
        parse_document(data, name)
    return caught.value.reason


# What a file is


@pytest.mark.parametrize(
    ("data", "name", "media_type"),
    [
        (make_pdf([(72, 100, "text")]), "contract.txt", PDF),
        (b"junk before\n" + make_pdf([(72, 100, "text")]), "contract.pdf", PDF),
        (make_docx(), "contract.pdf", DOCX),
        (HTML_PAGE.encode(), "page.txt", HTML),
        (b"\xef\xbb\xbf\n<!-- saved -->\n<HTML><body>text</body></HTML>", "page", HTML),
        (b"<div><p>One</p><p>Two</p></div>", "fragment.txt", HTML),
        (make_email().as_bytes(), "letter.html", EMAIL),
        (b"From: ada@example.org\nSubject: Duties\n\n- one\n", "letter.md", EMAIL),
        (MARKDOWN_PAGE.encode(), "README.MD", MARKDOWN),
        (MARKDOWN_PAGE.encode(), "readme.txt", TEXT),
        (TEXT_PAGE.encode(), "contract.pdf", TEXT),
        (b"A PDF begins with %PDF-1.7, and HTML with <html>.", "notes.txt", TEXT),
        (b"FROM: Legal\nTO: all\nDATE: May\nRE: lunch\n\nLunch is at one.", "memo.eml", TEXT),
        ("BMW Geschäftsbericht über das Jahr".encode("cp1252"), "report", TEXT),  # BMP images begin with BM
        (b"<PAGE>\n<TABLE>\n<S> <C>\nSum 500 EUR\n</TABLE>\n", "filing.txt", TEXT),
    ],
)
def test_type_is_told_by_content(data: bytes, name: str, media_type: str) -> None:
    assert detect_media_type(data, name) == media_type


@pytest.mark.parametrize(
    ("data", "reason", "says"),
    [
        (b"", "no_text", "empty"),
        (b" \r\n\t", "no_text", "empty"),
        (b"\xef\xbb\xbf", "no_text", "empty"),
        ("\n ".encode("utf-16"), "no_text", "empty"),
        (b"-- ... --", "no_text", "no text"),
        (b"<html><body></body></html>", "no_text", "no text"),
        (make_pdf([], []), "no_text", "scan of 2 pages"),
        (PNG, "unsupported", "an image of type image/png"),
        (OLE, "unsupported", ".doc"),
        (b"{\\rtf1 text}", "unsupported", "RTF"),
        (make_zip("[Content_Types].xml", "xl/workbook.xml"), "unsupported", "an Excel workbook"),
        (make_zip("[Content_Types].xml", "ppt/presentation.xml"), "unsupported", "a PowerPoint presentation"),
        (make_zip("notes.txt"), "unsupported", "a ZIP archive"),
        (OLE + "EncryptedPackage".encode("utf-16-le"), "encrypted", "password"),
        (make_pdf([(72, 100, "text")], password="secret", owner="owner"), "encrypted", "password"),
        (make_pdf([(72, 100, "text")])[:400], "damaged", "PDF"),
        (make_docx()[:5000], "damaged", "ZIP"),
        (bytes(range(256)) * 8, "not_text", "neither text"),
        (b"\xff\xfe\x00\xd8", "not_text", "neither text"),
    ],
)
def test_every_refusal_has_its_reason(data: bytes, reason: str, says: str) -> None:
    with pytest.raises(DocumentError, match=says) as caught:
        parse_document(data, "file.pdf")
    assert caught.value.reason == reason


def test_unreadable_are_too_many_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "MAX_PAGES", 1)
    assert reason_of(make_pdf([(72, 100, "one")], [(72, 100, "two")])) == "unreadable"


@pytest.mark.parametrize(
    ("error", "reason"), [(ValueError("secret words"), "damaged"), (RecursionError("secret words"), "unreadable")]
)
def test_foreign_errors_become_ours_without_their_words(
    monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def broken(data: bytes) -> ParsedDocument:
        raise error

    monkeypatch.setitem(parsers.PARSERS, TEXT, broken)
    with pytest.raises(DocumentError, match=type(error).__name__) as caught:
        parse_document(b"some text", "file")
    assert caught.value.reason == reason
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


# Text and its encodings


@pytest.mark.parametrize(
    ("text", "encoding", "named"),
    [
        ("Größe “über” alles", "utf-8", "utf-8"),
        ("Größe über alles", "utf-8-sig", "utf-8-sig"),
        ("Größe über alles", "utf-16", "utf-16"),
        ("Größe über alles", "utf-32", "utf-32"),
        ("This contract takes effect at once.", "utf-16-be", "utf_16_be"),
        ("Der Empfänger verpflichtet sich, die Förderung von 500 € bis März zurückzuzahlen.", "cp1252", "cp1252"),
        ("Élève à l'école", "cp1252", "cp1252"),
        ("Smlouva nabývá účinnosti dnem 1. dubna 2024. Příjemce se zavazuje. " * 5, "cp1250", "cp1250"),
        ("この契約は二〇二四年四月一日に発効する。甲及び乙は、次のとおり合意する。", "shift_jis", "cp932"),
    ],
)
def test_text_is_decoded(text: str, encoding: str, named: str) -> None:
    data = text.encode("utf-16-be" if encoding == "utf-16-be" else encoding)
    assert decode_text(data) == (text, named)


def test_a_broken_character_leaves_the_rest_of_utf8_whole() -> None:
    text, encoding = decode_text("Größe über alles. ".encode() * 20 + b"\xff")
    assert (text.count("Größe über alles"), encoding) == (20, "utf-8")


def test_nul_and_control_characters_are_removed() -> None:
    data = PROSE.replace("both", "bo\0th").replace("May", "May\x07").encode()
    assert parse_document(data, "a.txt").text == PROSE


def test_long_blanks_take_no_time() -> None:
    assert parse_document(b"Left" + b" " * 1_000_000 + b"right", "a.txt").text == "Left right"


# The blocks of each format. These kinds also guard the stand-in for spaCy's model.


def test_text_blocks() -> None:
    document = parse_document(TEXT_PAGE.encode(), "letter.txt")
    assert blocks_of(document) == [
        ("title", "GRANT LETTER"),
        ("paragraph", PROSE),
        ("list_item", "First duty"),
        ("list_item", "Second duty"),
        ("paragraph", "The sum is 500 EUR."),
    ]
    assert (document.media_type, document.parser, document.pages) == (
        TEXT,
        f"unstructured {version('unstructured')}",
        None,
    )


@pytest.mark.parametrize(("page", "name", "total"), [(HTML_PAGE, "a.html", "500 EUR"), (MARKDOWN_PAGE, "a.md", "500")])
def test_html_and_markdown_blocks(page: str, name: str, total: str) -> None:
    assert blocks_of(parse_document(page.encode(), name)) == [
        ("title", "Grant letter"),
        ("paragraph", PROSE),
        ("list_item", "First duty"),
        ("list_item", "Second duty"),
        ("table", f"Year | Sum\n2024 | {total}"),
    ]


def test_html_in_a_form_or_figure_is_kept() -> None:
    page = (
        "<html><body><form><p>In a form.</p></form><figure><table><tr><td>a</td><td>b</td></tr></table></figure></body>"
    )
    assert blocks_of(parse_document(page.encode(), "a.html")) == [("paragraph", "In a form."), ("table", "a | b")]


def test_docx_blocks() -> None:
    document = parse_document(make_docx(), "letter.docx")
    assert blocks_of(document) == [
        ("paragraph", "Ministry of Grants"),
        ("title", "Grant letter"),
        ("paragraph", PROSE),
        ("list_item", "First duty"),
        ("table", "Year | Sum\n2024 | 500 EUR"),
    ]
    assert document.pages is None


def test_docx_pages_where_word_stored_them() -> None:
    document = docx.Document()
    document.add_paragraph("On the first page.")
    run = document.add_paragraph().add_run()
    run._r.append(docx.oxml.OxmlElement("w:lastRenderedPageBreak"))
    run.add_text("On the second page.")
    parsed = parse_document(saved(document), "a.docx")
    assert [block.page for block in parsed.blocks] == [1, 2]
    assert parsed.pages == 2


def test_email_headers_come_first_and_attachments_are_named() -> None:
    message = make_email()
    message.add_alternative("<p>The HTML part</p>", subtype="html")
    message.add_attachment(b"%PDF-1.7", maintype="application", subtype="pdf", filename="plan.pdf")
    headers = (
        "From: Ada Byron <ada@example.org>\nTo: Björn Åberg <bjorn@example.org>\n"
        "Date: Wed, 01 May 2024 10:00:00 +0200\nSubject: Förderung\nAttachments: plan.pdf"
    )
    assert blocks_of(parse_document(message.as_bytes(), "mail.eml")) == [
        ("paragraph", headers),
        ("paragraph", "Dear Björn,"),
        ("paragraph", PROSE),
    ]


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("text/plain", "Fünf Euro, bitte.", "Fünf Euro, bitte."),
        ("text/plain; charset=x-unknown", "Fünf Euro, bitte.", "Fünf Euro, bitte."),
        ("text/html; charset=utf-8", "<p>Fünf <b>Euro</b></p>", "Fünf Euro"),
    ],
)
def test_email_bodies(content_type: str, body: str, text: str) -> None:
    data = f"From: a@example.org\nSubject: Euro\nContent-Type: {content_type}\n\n{body}".encode()
    assert parse_document(data, "mail").text == f"From: a@example.org\nSubject: Euro\n\n{text}"


@pytest.mark.parametrize(
    "data",
    [
        TEXT_PAGE.encode(),
        HTML_PAGE.encode(),
        make_docx(),
        make_email().as_bytes(),
        make_pdf([(72, 100, "One"), (72, 400, "Two")], [(72, 100, "Three")]),
    ],
)
def test_blocks_are_slices_of_the_text(data: bytes) -> None:
    document = parse_document(data, "file")
    assert "\n\n".join(text for _, text in blocks_of(document)) == document.text
    assert all(text == text.strip() != "" for _, text in blocks_of(document))


# PDF


def test_pdf_pages_and_boxes() -> None:
    document = parse_document(make_pdf([(72, 100, "Alpha"), (300, 500, "Beta")], [(72, 800, "Gamma")]), "a.pdf")
    assert [(text, block.page) for block, (_, text) in zip(document.blocks, blocks_of(document), strict=True)] == [
        ("Alpha", 1),
        ("Beta", 1),
        ("Gamma", 2),
    ]
    assert document.pages == 2
    for block, (x, baseline) in zip(document.blocks, [(72, 100), (300, 500), (72, 800)], strict=True):
        assert block.box is not None
        assert x <= block.box.x0 <= x + 2
        assert x + 20 < block.box.x1 < x + 50
        assert baseline - 12 < block.box.y0 < baseline - 6
        assert baseline - 2 < block.box.y1 < baseline + 4


@pytest.mark.parametrize(
    ("rotation", "x", "y"),
    # The page is cropped to 360 x 550, and the text's baseline begins at (30, 480) in that, from the bottom left.
    [(0, 30, 70), (90, 480, 30), (180, 330, 480), (270, 70, 330)],
)
def test_pdf_boxes_are_on_the_page_as_it_is_seen(rotation: int, x: float, y: float) -> None:
    page = f"/MediaBox[0 0 400 600]/CropBox[20 30 380 580]/Rotate {rotation}"
    document = parse_document(bare_pdf(page, "BT /F 12 Tf 50 510 Td (A) Tj ET"), "a.pdf")
    box = document.blocks[0].box
    assert box is not None
    assert box.x0 - 1 <= x <= box.x1 + 1
    assert box.y0 - 1 <= y <= box.y1 + 1
    assert max(box.x1 - box.x0, box.y1 - box.y0) < 10


def words_of(document: ParsedDocument) -> list[tuple[str, Box]]:
    """Every word that has a box, with it."""
    return [
        (document.text[block.start + start : block.start + end], Box(x0=x0, y0=y0, x1=x1, y1=y1))
        for block in document.blocks
        for start, end, x0, y0, x1, y1 in block.words
    ]


def test_pdf_words_have_their_boxes() -> None:
    drawn = FPDF(unit="pt", format="A4")
    drawn.set_font("Helvetica", size=12)
    drawn.add_page()
    left = {}
    for y, line in [(100, "The sum of 500 EUR"), (114, "is due on 1 May 2024."), (300, "Office")]:
        drawn.text(72, y, line)
        for match in re.finditer(r"\S+", line):
            left[match[0]] = (72 + drawn.get_string_width(line[: match.start()]), y, drawn.get_string_width(match[0]))
    words = words_of(parse_document(bytes(drawn.output()), "a.pdf"))

    assert [word for word, _ in words] == list(left)
    for word, box in words:
        x, baseline, width = left[word]
        assert (box.x0, box.x1) == pytest.approx((x, x + width), abs=1)
        assert baseline - 13 < box.y0 < baseline - 8
        assert baseline <= box.y1 < baseline + 4


@pytest.mark.parametrize(
    ("rotation", "alpha", "beta"),  # where the words' baselines begin, on the cropped page as it is seen
    [(0, (30, 70), (65, 70)), (90, (480, 30), (480, 65)), (180, (330, 480), (295, 480)), (270, (70, 330), (70, 295))],
)
def test_pdf_words_are_on_the_page_as_it_is_seen(
    rotation: int, alpha: tuple[float, float], beta: tuple[float, float]
) -> None:
    page = f"/MediaBox[0 0 400 600]/CropBox[20 30 380 580]/Rotate {rotation}"
    words = words_of(parse_document(bare_pdf(page, "BT /F 12 Tf 50 510 Td (Alpha Beta) Tj ET"), "a.pdf"))

    assert [word for word, _ in words] == ["Alpha", "Beta"]
    for (x, y), (_, box) in zip((alpha, beta), words, strict=True):
        assert box.x0 - 2 <= x <= box.x1 + 2
        assert box.y0 - 2 <= y <= box.y1 + 2
        assert 20 < max(box.x1 - box.x0, box.y1 - box.y0) < 35
        assert 10 < min(box.x1 - box.x0, box.y1 - box.y0) < 16


def test_pdf_words_off_the_page_have_no_box() -> None:
    document = parse_document(make_pdf([(72, 100, "Seen"), (-300, 400, "Unseen")]), "a.pdf")

    assert [word for word, _ in words_of(document)] == ["Seen"]


def test_pdf_words_with_a_hyphen_or_spaces_before_them_are_themselves() -> None:
    data = make_pdf([(72, 100, "  The parties agree on a non-"), (72, 114, "exclusive licence.")])
    document = parse_document(data, "a.pdf")

    assert [word for word, _ in words_of(document)] == document.text.split()
    assert document.text.split()[-3:] == ["non-", "exclusive", "licence."]


def test_pdf_paragraphs_titles_and_lists() -> None:
    page = FPDF(unit="pt", format="A4")
    page.add_page()
    for y, style, text in [
        (100, "B", "Grant letter"),
        (130, "", "This agreement binds both parties to what is written in"),
        (144, "", "it, and takes effect on 1 May 2024."),
        (172, "", "1. The sum is paid in two parts, of which the first is due"),
        (186, "", "at once."),
        (200, "", "2. The second is due later."),
    ]:
        page.set_font("Helvetica", style, 12)
        page.text(72, y, text)
    assert blocks_of(parse_document(bytes(page.output()), "a.pdf")) == [
        ("title", "Grant letter"),
        ("paragraph", "This agreement binds both parties to what is written in\nit, and takes effect on 1 May 2024."),
        ("list_item", "1. The sum is paid in two parts, of which the first is due\nat once."),
        ("list_item", "2. The second is due later."),
    ]


def test_pdf_columns_stay_apart() -> None:
    left = [(60, 100 + 14 * row, f"left column, line {row},") for row in range(4)]
    right = [(320, 100 + 14 * row, f"right column, line {row},") for row in range(4)]
    texts = [text for _, text in blocks_of(parse_document(make_pdf([*left, *right]), "a.pdf"))]
    assert texts == ["\n".join(text for _, _, text in column) for column in (left, right)]


def test_pdf_hyphens_and_line_breaks_stay() -> None:
    data = make_pdf([(72, 100, "The parties agree on a non-"), (72, 114, "exclusive licence.")])
    assert parse_document(data, "a.pdf").text == "The parties agree on a non-\nexclusive licence."


def test_pdf_characters_beyond_the_basic_plane_do_not_shift_boxes() -> None:
    to_unicode = "1 beginbfchar\n<41> <D835DD38>\nendbfchar"
    content = "BT /G 12 Tf 50 500 Td (A) Tj /F 12 Tf ( is a letter.) Tj 0 -200 Td (Below) Tj ET"
    data = bare_pdf(
        "/MediaBox[0 0 400 600]",
        content,
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica/ToUnicode 7 0 R>>",
        f"<</Length {len(to_unicode)}>>stream\n{to_unicode}\nendstream",
        fonts="/F 5 0 R/G 6 0 R",
    )
    document = parse_document(data, "a.pdf")
    assert blocks_of(document) == [("paragraph", "𝔸 is a letter."), ("paragraph", "Below")]
    box = document.blocks[1].box
    assert box is not None
    assert 290 < box.y0 < box.y1 < 304
    assert [word for word, _ in words_of(document)] == ["𝔸", "is", "a", "letter.", "Below"]
    assert [round(box.x0) for _, box in words_of(document)][::4] == [50, 50]


def test_pdf_forms_give_what_was_filled_in() -> None:
    appearance = "BT /F 12 Tf 2 6 Td (Ada Byron) Tj ET"
    document = bare_pdf(
        "/MediaBox[0 0 400 600]/Annots[6 0 R]",
        "BT /F 12 Tf 50 506 Td (Name:) Tj 0 -20 Td (Place:) Tj ET",
        "<</Type/Annot/Subtype/Widget/FT/Tx/T(name)/V(Ada Byron)/Rect[120 500 300 520]/F 4/AP<</N 7 0 R>>>>",
        f"<</Type/XObject/Subtype/Form/BBox[0 0 180 20]/Resources<</Font<</F 5 0 R>>>>/Length {len(appearance)}>>"
        f"stream\n{appearance}\nendstream",
        catalog="/AcroForm<</Fields[6 0 R]>>",
    )
    assert parse_document(document, "form.pdf").text.split("\n") == ["Name:", "Ada Byron", "Place:"]


def test_pdf_with_an_owner_password_alone_is_read() -> None:
    assert parse_document(make_pdf([(72, 100, "Open to all")], owner="owner"), "a.pdf").text == "Open to all"


def test_pdf_with_some_pages_scanned_is_read_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    document = parse_document(make_pdf([(72, 100, "Text")], []), "a.pdf")
    assert (document.text, document.pages) == ("Text", 2)
    assert "2 pages has no text on 1 page" in caplog.text


def test_many_threads_parse_at_once() -> None:
    files = [make_pdf([(72, 100, f"Document {number}")] * 5) for number in range(20)] + [HTML_PAGE.encode()] * 20
    with ThreadPoolExecutor(8) as pool:
        texts = [document.text for document in pool.map(lambda data: parse_document(data, "file"), files)]
    assert all(f"Document {number}" in texts[number] for number in range(20))
    assert len(set(texts[20:])) == 1


# Hostile DOCX


def test_docx_bombs_are_refused() -> None:
    bomb = repacked(make_docx(), ("word/media/zeros.bin", bytes(60_000_000)))
    crowd = repacked(make_docx(), *((f"word/{number}.bin", b"") for number in range(10_001)))
    for data, says in ((bomb, "inflate"), (crowd, "entries")):
        with pytest.raises(DocumentError, match=says) as caught:
            parse_document(data, "a.docx")
        assert caught.value.reason == "damaged"


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_docx_with_two_entries_of_one_name_is_refused() -> None:
    assert reason_of(repacked(make_docx(), ("word/document.xml", b"<other/>"))) == "damaged"


@pytest.mark.parametrize(
    "declaration",
    [
        b'<!DOCTYPE w [<!ENTITY e SYSTEM "file:///etc/passwd">]>',
        b'<!DOCTYPE w SYSTEM "http://192.0.2.1/w.dtd">',
        '<!doctype w [<!ENTITY a "aaaa">]>'.encode("utf-16-le"),
    ],
)
def test_docx_with_a_document_type_is_refused(declaration: bytes) -> None:
    data = repacked(make_docx(), replacing=(b"<w:document", declaration + b"<w:document"))
    with pytest.raises(DocumentError, match="document type") as caught:
        parse_document(data, "a.docx")
    assert caught.value.reason == "damaged"


def test_docx_with_an_encrypted_entry_is_refused() -> None:
    data = bytearray(make_docx())
    directory = data.index(b"PK\x01\x02")
    data[directory + 8] |= 1  # the flags of the first entry
    assert reason_of(bytes(data)) == "encrypted"


def test_docx_whose_main_part_is_not_xml_is_damaged() -> None:
    assert reason_of(repacked(make_docx(), replacing=(b"</w:body>", b"</w:nobody>"))) == "damaged"


# unstructured, kept from the network


def test_a_missing_hook_is_an_error_of_the_installation_not_of_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    parse_document(b"Some text.", "a.txt")  # so that unstructured is imported
    monkeypatch.delattr("unstructured.nlp.tokenize._get_nlp")
    with pytest.raises(ImportError, match="_get_nlp"):
        parse_document(b"Some text.", "a.txt")


def test_the_stand_in_tokenizes_without_a_model() -> None:
    parse_document(b"Some text.", "a.txt")
    from unstructured.nlp import tokenize

    assert tokenize.sent_tokenize("One sentence. And two.") == ["One sentence.", "And two."]
    assert tokenize.word_tokenize("One word") == ["One", "word"]
    assert tokenize.pos_tag("One word") == [("One", ""), ("word", "")]
    assert tokenize._get_nlp().pipe_names == ["sentencizer"]
