"""From a file's bytes to one text with blocks.

Where to add a format: let `media_types.detect_media_type` recognise it, write a function from bytes to
`ParsedDocument`, and name it in `PARSERS`.
"""

from collections.abc import Callable

from tasks.parsers import media_types, with_unstructured
from tasks.parsers.pdf import parse_pdf
from winnow.documents import ParsedDocument
from winnow.exceptions import DocumentError

PARSERS: dict[str, Callable[[bytes], ParsedDocument]] = {
    media_types.PDF: parse_pdf,
    media_types.DOCX: with_unstructured.parse_docx,
    media_types.HTML: with_unstructured.parse_html,
    media_types.EMAIL: with_unstructured.parse_email,
    media_types.MARKDOWN: with_unstructured.parse_markdown,
    media_types.TEXT: with_unstructured.parse_text,
}


def parse_document(data: bytes, name: str) -> ParsedDocument:
    """Turn a file into text with blocks, whatever its name says it is.

    Raises:
        DocumentError: the file gives no text; `reason` says why.
        MemoryError: there is not enough for this file.
    """
    media_type = media_types.detect_media_type(data, name)
    try:
        return PARSERS[media_type](data)
    except (DocumentError, ImportError, MemoryError):  # a missing library is not the document's fault
        raise
    except RecursionError:
        raise DocumentError("unreadable", "it is nested too deeply (RecursionError)") from None
    except Exception as error:  # noqa: BLE001 - parsers raise anything at all on hostile or broken files
        # `from None`: the cause may quote the document, and tracebacks reach logs and the Prefect UI.
        raise DocumentError("damaged", f"it cannot be read as {media_type} ({type(error).__name__})") from None
