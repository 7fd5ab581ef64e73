"""DOCX files are ZIP archives: what is checked before anything in them is inflated or parsed."""

import io
import zipfile

from winnow.exceptions import DocumentError

_MAX_ENTRIES = 10_000
_MAX_BYTES = 500_000_000
_MAX_RATIO, _RATIO_COUNTS_FROM = 200, 50_000_000
_DOCTYPE = b"<!DOCTYPE"
_STEP = 1 << 20


def open_archive(data: bytes) -> zipfile.ZipFile:
    """Open a ZIP archive whose sizes are sane. `zipfile` never inflates an entry beyond the size stated here.

    Raises:
        DocumentError: `damaged`, or `encrypted`.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError):
        raise DocumentError("damaged", "its ZIP archive is cut short or damaged") from None
    entries = archive.infolist()
    size = sum(entry.file_size for entry in entries)
    if len(entries) > _MAX_ENTRIES:
        raise DocumentError("damaged", f"its ZIP archive has {len(entries):,} entries; no real document does")
    if size > _MAX_BYTES or (size > _RATIO_COUNTS_FROM and size > _MAX_RATIO * len(data)):
        raise DocumentError("damaged", f"its ZIP archive would inflate to {size:,} bytes; no real document does")
    if len({entry.filename for entry in entries}) < len(entries):
        raise DocumentError("damaged", "its ZIP archive holds two entries of one name")
    if any(entry.flag_bits & 0x1 for entry in entries):
        raise DocumentError("encrypted", "its ZIP archive is encrypted")
    return archive


def refuse_doctypes(archive: zipfile.ZipFile) -> None:
    """Refuse XML parts that declare a document type: office files have none, entity bombs and XXE need one.

    Raises:
        DocumentError: `damaged`.
    """
    for entry in archive.infolist():
        if entry.filename.lower().endswith((".xml", ".rels")) and _has_doctype(archive, entry):
            raise DocumentError("damaged", "an XML part declares a document type; no real document does")


def _has_doctype(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    with archive.open(entry) as part:
        tail = b""
        while step := part.read(_STEP):
            window = tail + step.replace(b"\0", b"")  # so that UTF-16 hides nothing
            if _DOCTYPE in window.upper():
                return True
            tail = window[-len(_DOCTYPE) :]
    return False
