"""From bytes to text, in whatever encoding they were written."""

import codecs

from winnow.exceptions import DocumentError

# UTF-32 before UTF-16: the little-endian mark of the one begins with that of the other.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Controls that no text holds in number. NUL is not among them: UTF-16 without a mark is full of it.
_BINARY = bytes(byte for byte in range(1, 32) if byte not in b"\t\n\v\f\r\x1a\x1b")
# Latin-script languages that code page 1252 cannot write.
_NOT_WESTERN = {"Croatian", "Czech", "Hungarian", "Lithuanian", "Polish", "Romanian", "Slovak", "Slovene", "Turkish"}


def decode_text(data: bytes) -> tuple[str, str]:
    """The text of a file and the name of its encoding.

    Raises:
        DocumentError: `not_text` where no encoding makes text of the bytes.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return _decode_marked(data, encoding), encoding
    if len(data) - len(data.translate(None, _BINARY)) > len(data) / 50:
        raise _not_text()
    return _decode_utf8(data) or _decode_guessed(data)


def _decode_marked(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        raise _not_text() from None


def _decode_utf8(data: bytes) -> tuple[str, str] | None:
    """UTF-8, also with a few broken characters: a cut or patched file stays UTF-8."""
    if data.count(0) > len(data) / 10:
        return None
    text = data.decode("utf-8", errors="replace")
    broken = text.count("\ufffd")
    whole = sum(character > "\x7f" for character in text) - broken if broken else 0
    return (text, "utf-8") if whole >= 20 * broken else None


def _decode_guessed(data: bytes) -> tuple[str, str]:
    from charset_normalizer import from_bytes

    matches = from_bytes(data)
    best = matches.best()
    if best is None:
        raise _not_text()
    for match in matches:
        # The guesser prefers 1250 where both fit equally well; western text is the commoner by far.
        equal = match.chaos <= best.chaos and match.coherence >= best.coherence
        if equal and "cp1252" in match.could_be_from_charset and match.language not in _NOT_WESTERN:
            return str(match), "cp1252"
    return str(best), best.encoding


def _not_text() -> DocumentError:
    return DocumentError("not_text", "it is not text in any known encoding")
