"""PDF with a text layer, read with PDFium: every line with its place, page by page."""

import ctypes
import logging
import math
import re
import threading
from array import array
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.metadata import version
from typing import Any

from tasks.parsers.media_types import PDF
from tasks.parsers.pdf_layout import Line, in_rows, pieces_of_page
from winnow.documents import ParsedDocument, Piece, Word, assemble
from winnow.exceptions import DocumentError

MAX_PAGES = 20_000

logger = logging.getLogger(__name__)

_PDFIUM = threading.Lock()  # PDFium is not thread-safe: one document at a time in a process
_LINE = re.compile("[^\r\n\ufffe\x02]+[\ufffe\x02]?")
_HYPHEN = re.compile("[\ufffe\x02]$")  # how PDFium gives a hyphen at a line's end; the line break is then missing
_BOLD = re.compile(rb"bold|black|heavy|demi", re.IGNORECASE)

# Chinese and Japanese write no spaces: there every character has its box.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\s\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")

Place = Callable[[float, float], tuple[float, float]]


def parse_pdf(data: bytes) -> ParsedDocument:
    """The text layer of a PDF, in blocks with page and box.

    Raises:
        DocumentError: `encrypted`, `damaged`, `unreadable` (too many pages), or `no_text` for a scan.
    """
    with _PDFIUM, closing(_open(data)) as document:
        pages = len(document)
        if pages == 0:
            raise DocumentError("damaged", "the PDF has no pages")
        if pages > MAX_PAGES:
            raise DocumentError("unreadable", f"the PDF has {pages:,} pages; {MAX_PAGES:,} are the limit")
        if document.get_formtype():
            document.init_forms()
        by_page = [_page_pieces(document, number) for number in range(pages)]
    empty = sum(not pieces for pieces in by_page)
    if empty == pages:
        raise DocumentError(
            "no_text", f"it has no text layer: it looks like a scan of {_count(pages)} and needs text recognition first"
        )
    if empty:
        logger.warning("A PDF of %s has no text on %s", _count(pages), _count(empty))
    pieces = (piece for page in by_page for piece in page)
    return assemble(pieces, media_type=PDF, parser=f"pypdfium2 {version('pypdfium2')}", pages=pages)


def _count(pages: int) -> str:
    return f"{pages:,} page{'s' if pages != 1 else ''}"


def _open(data: bytes) -> Any:
    import pypdfium2
    from pypdfium2 import raw

    try:
        return pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if error.err_code in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY):
            raise DocumentError("encrypted", "the PDF is encrypted and opens only with a password") from None
        raise DocumentError("damaged", "the PDF is damaged or cut short") from None


def _page_pieces(document: Any, number: int) -> list[Piece]:
    filled_in = bool(document.formenv) and _flatten(document, number)
    with closing(document[number]) as page, closing(page.get_textpage()) as textpage:
        lines = list(_lines(textpage, _place_on(page)))
        width, height = page.get_size()
        return pieces_of_page(in_rows(lines) if filled_in else lines, number + 1, width, height)


def _flatten(document: Any, number: int) -> bool:
    """Put on the page what was filled into its form fields; else they would not be in its text."""
    from pypdfium2 import raw

    with closing(document[number]) as page:
        return bool(page.flatten() == raw.FLATTEN_SUCCESS)


def _place_on(page: Any) -> Place:
    """From PDF space (from the bottom left, neither rotated nor cropped) to the page as seen, from its top left."""
    left, bottom, right, top = page.get_bbox()
    turned: dict[int, Place] = {
        0: lambda x, y: (x - left, top - y),
        90: lambda x, y: (y - bottom, x - left),
        180: lambda x, y: (right - x, y - bottom),
        270: lambda x, y: (top - y, right - x),
    }
    return turned[page.get_rotation()]


def _lines(textpage: Any, place: Place) -> Iterator[Line]:
    text = textpage.get_text_range(errors="surrogatepass")
    astral = text > "" and max(text) > "\uffff"
    if astral:  # PDFium counts UTF-16 units: give a pair two places here too
        text = "".join(map(chr, array("H", text.encode("utf-16-le", "surrogatepass"))))
    for match in _LINE.finditer(text):
        words = _HYPHEN.sub("-", match[0])
        if not words.strip():
            continue
        if astral:
            words = _joined(words)
        yield _line(textpage, place, match, words)


def _line(textpage: Any, place: Place, match: re.Match[str], words: str) -> Line:
    from pypdfium2 import raw

    # The text may leave out characters that PDFium counts, so that places in it need translation.
    first, last = (_char_index(textpage, place_in_text) for place_in_text in _ends(match))
    corners = []
    for index in range(raw.FPDFText_CountRects(textpage, first, last - first + 1)):
        left, bottom, right, top = textpage.get_rect(index)
        corners += [place(left, bottom), place(right, top)]
    x, y = ctypes.c_double(), ctypes.c_double()
    raw.FPDFText_GetCharOrigin(textpage, first, x, y)
    origin = place(x.value, y.value)
    corners = corners or [origin]
    return Line(
        # Skia, behind Chrome's "Save as PDF", writes spaces as no-break spaces and hyphens as soft ones.
        text=words.replace("\xa0", " ").replace("\xad", "-").strip(),
        x0=min(x for x, _ in corners),
        y0=min(y for _, y in corners),
        x1=max(x for x, _ in corners),
        y1=max(y for _, y in corners),
        baseline=origin[1],
        size=max(_size(textpage, first), _size(textpage, last)),  # a bullet may be smaller, a footnote sign is
        bold=_is_bold(textpage, first) and _is_bold(textpage, last),
        words=tuple(_words(textpage, place, match, words, (first, last))),
    )


def _words(textpage: Any, place: Place, line: re.Match[str], words: str, ends: tuple[int, int]) -> Iterator[Word]:
    """A line's words with their boxes, in points; `ends` are its first and last character as PDFium counts them."""
    text = line[0]
    lead = len(text) - len(text.lstrip())
    in_step = ends[1] - ends[0] == len(text.strip()) - 1  # else the text leaves out some that PDFium counts
    pairs = len(text) != len(words)
    for match in _WORD.finditer(text):
        start, end = match.span()
        if in_step:
            first, last = start - lead + ends[0], end - 1 - lead + ends[0]
        else:
            first, last = (_char_index(textpage, line.start() + at) for at in (start, end - 1))
        if box := _word_box(textpage, place, first, last):
            if pairs:
                start, end = (len(_joined(text[lead:at])) + lead for at in (start, end))
            yield start - lead, end - lead, *box


def _word_box(textpage: Any, place: Place, first: int, last: int) -> tuple[float, float, float, float] | None:
    """Around a word's first and last character, by the height of their type: two calls, however long it is."""
    from pypdfium2 import raw

    one, other = raw.FS_RECTF(), raw.FS_RECTF()
    get = raw.FPDFText_GetLooseCharBox
    if not (get(textpage, first, one) and get(textpage, last, other)):
        return None
    x0, y0 = place(min(one.left, other.left), min(one.bottom, other.bottom))
    x1, y1 = place(max(one.right, other.right), max(one.top, other.top))
    if x0 > x1:
        x0, x1 = x1, x0
    if y0 > y1:
        y0, y1 = y1, y0
    # To tenths: `round` takes longer than all else here.
    return (x0 * 10 + 0.5) // 1 / 10, (y0 * 10 + 0.5) // 1 / 10, (x1 * 10 + 0.5) // 1 / 10, (y1 * 10 + 0.5) // 1 / 10


def _joined(text: str) -> str:
    """Text with its UTF-16 pairs as one character each."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")


def _ends(match: re.Match[str]) -> tuple[int, int]:
    """Places of a line's first and last character that is not white space."""
    line = match[0]
    start = len(line) - len(line.lstrip())
    return match.start() + start, match.start() + len(line.rstrip()) - 1


def _char_index(textpage: Any, place_in_text: int) -> int:
    from pypdfium2 import raw

    index: int = raw.FPDFText_GetCharIndexFromTextIndex(textpage, place_in_text)
    return index if index >= 0 else place_in_text


def _size(textpage: Any, index: int) -> float:
    """Type size in points as it is seen: the nominal one is before scaling."""
    from pypdfium2 import raw

    matrix = raw.FS_MATRIX()
    scaled = raw.FPDFText_GetMatrix(textpage, index, matrix)
    return float(raw.FPDFText_GetFontSize(textpage, index) * (math.hypot(matrix.c, matrix.d) if scaled else 1))


def _is_bold(textpage: Any, index: int) -> bool:
    from pypdfium2 import raw

    name = ctypes.create_string_buffer(128)
    raw.FPDFText_GetFontInfo(textpage, index, name, len(name), None)
    return bool(_BOLD.search(name.value))
