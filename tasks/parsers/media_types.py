"""What a file is, told by its content. Its name only decides between Markdown and plain text."""

import re

from tasks.parsers.archives import open_archive
from tasks.parsers.decoding import decode_text
from winnow.exceptions import DocumentError

PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
HTML = "text/html"
EMAIL = "message/rfc822"
MARKDOWN = "text/markdown"
TEXT = "text/plain"

_READS = "Winnow reads PDF, DOCX, HTML, Markdown, e-mail and plain text"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OLE_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
_TEXT_LIKE = ((b"{\\rtf", "an RTF file"), (b"%!PS", "a PostScript file"))
_ZIP_KINDS = (
    ("xl/", "an Excel workbook"),
    ("ppt/", "a PowerPoint presentation"),
    ("word/", "a Word template or a document with macros"),
    ("META-INF/container.xml", "an EPUB book"),
    ("content.xml", "an OpenDocument file"),
)
_FAMILIES = {"image": "an image", "audio": "an audio file", "video": "a video", "font": "a font"}

_HTML_START = re.compile(r"<!doctype\s+html|<html[\s>]", re.IGNORECASE)
_HTML_TAG = re.compile(
    r"</?(?:a|article|b|body|br|div|em|h[1-6]|head|i|img|li|main|ol|p|pre|section|span|strong|table|td|th|tr|ul)"
    r"(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
_HEADER = re.compile(rb"([!-9;-~]+)[ \t]*:")
_LETTER_HEADERS = {b"from", b"to", b"cc", b"subject", b"date", b"reply-to", b"sender"}
_MACHINE_HEADERS = {b"received", b"message-id", b"mime-version", b"return-path", b"delivered-to", b"content-type"}


def detect_media_type(data: bytes, name: str) -> str:
    """The media type of a file that Winnow reads.

    Raises:
        DocumentError: `no_text` for an empty file, `unsupported` and `encrypted` for known kinds that cannot be read,
            `damaged` for a broken archive, `not_text` for bytes of no known kind.
    """
    start = data[:1024].lstrip()
    if not start and not data.strip():
        raise DocumentError("no_text", "it is empty")
    if _is_pdf(data):
        return PDF
    if start.startswith(b"PK\x03\x04"):
        return _zip_type(data)
    if start.startswith(_OLE):
        raise _ole_error(data)
    for magic, kind in _TEXT_LIKE:
        if start.startswith(magic):
            raise _unsupported(kind)
    return EMAIL if _is_email(data) else _text_type(data, name)


def _is_pdf(data: bytes) -> bool:
    """A header at the start, or after junk in the first kilobyte, as readers allow; text may just name it there."""
    place = data.find(b"%PDF-", 0, 1024)
    return place == 0 or (place > 0 and b"endobj" in data)


def _zip_type(data: bytes) -> str:
    with open_archive(data) as archive:
        names = archive.namelist()
        if "[Content_Types].xml" in names:
            with archive.open("[Content_Types].xml") as part:
                # Not by `word/document.xml`: some of Microsoft's own services name the main part otherwise.
                if b"wordprocessingml.document.main+xml" in part.read(1 << 20).replace(b"\0", b""):
                    return DOCX
    for prefix, kind in _ZIP_KINDS:
        if any(member.startswith(prefix) for member in names):
            raise _unsupported(kind)
    raise _unsupported("a ZIP archive")


def _ole_error(data: bytes) -> DocumentError:
    if _OLE_ENCRYPTED in data:
        return DocumentError("encrypted", "it is an office file with a password")
    return _unsupported("an office file of before 2007, such as .doc, or an Outlook message")


def _is_email(data: bytes) -> bool:
    """Headers up to the first empty line, with an address or something only mail programs write."""
    head = data[:65536].removeprefix(b"\xef\xbb\xbf").lstrip()
    names: set[bytes] = set()
    for number, line in enumerate(head.splitlines()):
        if not line.strip():
            break
        if (names and line[:1] in b" \t") or (number == 0 and line.startswith(b"From ")):
            continue
        header = _HEADER.match(line)
        if header is None:
            return False
        names.add(header[1].lower())
    written_by_machine = names & _MACHINE_HEADERS or re.search(rb"(?im)^from:.*@", head)
    return bool(written_by_machine) and len(names & (_LETTER_HEADERS | _MACHINE_HEADERS)) >= 2


def _text_type(data: bytes, name: str) -> str:
    try:
        text, _ = decode_text(data)
    except DocumentError:
        raise _named_kind(data) or DocumentError("not_text", "it is neither text nor a known kind of file") from None
    text = text.strip("\ufeff\0 \t\r\n\f\v")
    if not text:
        raise DocumentError("no_text", "it is empty")
    if _is_html(text):
        return HTML
    return MARKDOWN if name.lower().endswith((".md", ".markdown")) else TEXT


def _is_html(text: str) -> bool:
    """Markup from the start: a document, or a fragment that is tags for a good part."""
    if not text.startswith("<"):
        return False
    sample = text[:20_000]
    tags = [tag[0] for tag in _HTML_TAG.finditer(sample)]
    closed = sum(tag.startswith("</") for tag in tags)
    return bool(_HTML_START.search(sample[:4096])) or (closed >= 2 and sum(map(len, tags)) > len(sample) / 10)


def _named_kind(data: bytes) -> DocumentError | None:
    import filetype  # type: ignore[import-untyped]

    kind = filetype.guess(data)
    if kind is None:
        return None
    return _unsupported(f"{_FAMILIES.get(kind.mime.split('/')[0], 'a file')} of type {kind.mime}")


def _unsupported(kind: str) -> DocumentError:
    return DocumentError("unsupported", f"it is {kind}; {_READS}")
