"""Text, Markdown, HTML, DOCX and e-mail, read with the library unstructured. Nothing else in Winnow knows it."""

import io
import os
import re
import threading
from collections.abc import Iterable, Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage, MIMEPart
from functools import cache
from importlib.metadata import version
from typing import Any

from tasks.parsers import media_types
from tasks.parsers.archives import open_archive, refuse_doctypes
from tasks.parsers.decoding import decode_text
from winnow.documents import BlockKind, ParsedDocument, Piece, assemble, clean_text

# Read by unstructured when it is imported: no pings home, no advertisement in the logs.
_QUIET = {"DO_NOT_TRACK": "1", "SCARF_NO_ANALYTICS": "true", "UNSTRUCTURED_DISABLE_NOTICE": "1"}
_KINDS: dict[str, BlockKind] = {"Title": "title", "ListItem": "list_item", "Table": "table"}  # others: paragraph
_NO_LANGUAGES = [""]  # languages are not detected: slow, and nothing here asks for them
_HEADERS = ("From", "To", "Cc", "Date", "Subject")
# unstructured drops these whole, and with them all of a page that stands in one form, or a table in a figure.
_DROPPED_TAGS = re.compile(r"<(/?)(?:form|figure|details|summary)(?=[\s>])", re.IGNORECASE)
_LONG_BLANKS = re.compile(r"[^\S\n]{100,}")  # unstructured's split into paragraphs is quadratic in them

_ROW = re.compile(r"\s*\S.*?(?:\S {2,}\S|\t)|\s*[^:\n]{1,40}:\s+\S")  # columns, or a label
_ROW_END = re.compile(r"\n(?!\s{8,})")  # a line set far in goes on with the row above

_setup = threading.Lock()


def parse_text(data: bytes) -> ParsedDocument:
    """Plain text, in paragraphs."""
    return _assemble(_text_pieces(decode_text(data)[0]), media_types.TEXT)


def parse_markdown(data: bytes) -> ParsedDocument:
    """Markdown, with its headings, lists and tables."""
    _load()
    from unstructured.partition.md import partition_md

    text = clean_text(decode_text(data)[0])
    return _assemble(_pieces(partition_md(text=text, languages=_NO_LANGUAGES)), media_types.MARKDOWN)


def parse_html(data: bytes) -> ParsedDocument:
    """HTML, without scripts, styles and navigation."""
    return _assemble(_html_pieces(decode_text(data)[0]), media_types.HTML)


def parse_docx(data: bytes) -> ParsedDocument:
    """A Word document. Pages are known only where Word stored where they broke."""
    with open_archive(data) as archive:
        refuse_doctypes(archive)
    _load()
    from unstructured.partition.docx import partition_docx

    pieces = list(_pieces(partition_docx(file=io.BytesIO(data), languages=_NO_LANGUAGES)))
    pages = max((piece.page for piece in pieces if piece.page), default=None)
    return _assemble(pieces, media_types.DOCX, pages)


def parse_email(data: bytes) -> ParsedDocument:
    """An e-mail: its headers as the first block, then its body. Attachments are named, and not opened."""
    message = message_from_bytes(data, policy=policy.default)
    headers = "\n".join(_email_headers(message))
    return _assemble([Piece(kind="paragraph", text=headers), *_email_body(message)], media_types.EMAIL)


def _email_headers(message: EmailMessage) -> Iterator[str]:
    for name in _HEADERS:
        yield from (f"{name}: {value}" for value in message.get_all(name, []))
    attachments = [part.get_filename() or part.get_content_type() for part in message.iter_attachments()]
    if attachments:
        yield f"Attachments: {', '.join(attachments)}"


def _email_body(message: EmailMessage) -> Iterator[Piece]:
    """The plain body, else the HTML one. `partition_email` would take 8-bit text without a charset for ASCII."""
    parts = [part for kind in ("plain", "html") if (part := message.get_body((kind,))) is not None]
    for part in parts:
        text = _part_text(part)
        if text.strip():
            return _html_pieces(text) if part.get_content_subtype() == "html" else _text_pieces(text)
    return iter(())


def _part_text(part: MIMEPart) -> str:
    payload = part.get_payload(decode=True)
    content = payload if isinstance(payload, bytes) else b""
    try:
        return content.decode(part.get_content_charset("us-ascii"))
    except (LookupError, UnicodeDecodeError):
        return decode_text(content)[0]


def _text_pieces(text: str) -> Iterator[Piece]:
    _load()
    from unstructured.partition.text import partition_text

    plain = _rows_apart(_LONG_BLANKS.sub(" ", clean_text(text)))
    for piece in _pieces(partition_text(text=plain, languages=_NO_LANGUAGES)):
        # Told by its words alone, and with no tagger to see a verb, a short sentence is taken for a title.
        sentence = piece.kind == "title" and piece.text.endswith((".", ";", "?", "!", "。"))
        yield Piece(kind="paragraph", text=piece.text) if sentence else piece


def _rows_apart(text: str) -> str:
    """Text in which rows of a form or a table stand as paragraphs: joined, they could not be told apart."""
    paragraphs = re.split(r"\n[^\S\n]*\n", text)
    return "\n\n".join(_ROW_END.sub("\n\n", part) if _has_rows(part) else part for part in paragraphs)


def _has_rows(paragraph: str) -> bool:
    lines = paragraph.strip().splitlines()
    return len(lines) > 1 and 2 * sum(bool(_ROW.match(line)) for line in lines) > len(lines)


def _html_pieces(text: str) -> Iterator[Piece]:
    _load()
    from unstructured.partition.html import partition_html

    html = _DROPPED_TAGS.sub(r"<\1div", clean_text(text))
    return _pieces(partition_html(text=html, languages=_NO_LANGUAGES))


def _pieces(elements: Iterable[Any]) -> Iterator[Piece]:
    for element in elements:
        markup = element.metadata.text_as_html if element.category == "Table" else None
        yield Piece(
            kind=_KINDS.get(element.category, "paragraph"),
            text=(_table_text(markup) if markup else "") or element.text,
            page=element.metadata.page_number,
        )


def _table_text(markup: str) -> str:
    """A table as lines of cells between bars: run together, its cells could not be told apart."""
    from lxml import html  # type: ignore[import-untyped]

    rows = []
    for row in html.fragment_fromstring(markup, create_parent=True).iter("tr"):
        cells = [" ".join(cell.text_content().split()) for cell in row.iterchildren("td", "th")]
        if any(cells):
            rows.append(" | ".join(cells))
    return "\n".join(rows)


def _assemble(pieces: Iterable[Piece], media_type: str, pages: int | None = None) -> ParsedDocument:
    return assemble(pieces, media_type=media_type, parser=f"unstructured {version('unstructured')}", pages=pages)


def _load() -> None:
    """Make unstructured ready, once per process.

    To tell titles from prose it loads a spaCy model, and downloads it where it is missing. A blank pipeline that only
    finds sentences takes its place: same block kinds where it matters, several times faster, and no network.
    """
    os.environ.update(_QUIET)
    with _setup:
        from unstructured.nlp import tokenize

        if not hasattr(tokenize, "_get_nlp"):
            raise ImportError(
                f"unstructured {version('unstructured')} has no nlp.tokenize._get_nlp any more, and might download a"
                " model; install the version that Winnow's pyproject.toml names"
            )
        tokenize._get_nlp = _sentencizer


@cache
def _sentencizer() -> Any:
    import spacy

    pipeline = spacy.blank("en")
    pipeline.add_pipe("sentencizer")
    return pipeline
