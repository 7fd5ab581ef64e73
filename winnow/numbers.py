"""Numbers from text: separators, signs, brackets, percentages, magnitudes, currencies and units.

A single dot is the decimal point, as asked of the model ("1.250" is one and a quarter). A single comma parts thousands
where exactly three digits follow a group that can lead ("1,250"), and is a decimal comma elsewhere ("1,25", "0,250").
In a language with a decimal comma "1.250" and "1,250" could both be either, and are refused. Whole numbers are exact,
up to 2**53. Currencies are never converted; units are, where both measure the same.
"""

import re
import unicodedata
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from winnow.codebook import name_key
from winnow.conventions import CoercionError, Conventions
from winnow.number_words import PERCENT, currencies, magnitude_key, magnitudes, whole_number

if TYPE_CHECKING:
    from babel import Locale

_FORM = "the form is 1250000.5"
_FIGURE = re.compile(r"\.?[0-9](?:[0-9.,' ]*[0-9])?(?:[eE][+-]?[0-9]+)?")
_FORMS: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(form), thousands, point)
    for form, thousands, point in (
        (r"([0-9]+(\.[0-9]+)?|\.[0-9]+)([eE][+-]?[0-9]+)?", "", "."),  # 1250000.5
        (r"[1-9][0-9]{0,2}(,[0-9]{3})+(\.[0-9]+)?", ",", "."),  # 1,250,000.50
        (r"[1-9][0-9]?(,[0-9]{2})+,[0-9]{3}(\.[0-9]+)?", ",", "."),  # 12,50,000 as in India
        (r"[1-9][0-9]{0,2}((\.[0-9]{3})+,[0-9]+|(\.[0-9]{3}){2,})", ".", ","),  # 1.250.000,50
        (r"[1-9][0-9]{0,2}( [0-9]{3})+([.,][0-9]+)?", " ", ","),  # 1 250 000,50
        (r"[1-9][0-9]{0,2}('[0-9]{3})+([.,][0-9]+)?", "'", ","),  # 1'250.50
        (r"[0-9]+,[0-9]+", "", ","),  # 1,25
    )
)
_EITHER = re.compile(r"[1-9][0-9]{0,2}[.,][0-9]{3}")  # thousands or decimals
_SHORT = 2  # letters: "5 M" is no length in m, so units as short as this keep their case
_MOST = 2**53  # beyond it a float no longer holds every whole number
_SPELLED_ALIKE = str.maketrans(
    dict.fromkeys("\u00a0\u2007\u2009\u202f\t\n", " ")
    | dict.fromkeys("−–﹣－", "-")
    | dict.fromkeys("\u061c\u200e\u200f\u2066\u2067\u2068\u2069", "")
    | {"’": "'", "٫": ".", "٬": ","}
)


class _Written(NamedTuple):
    """A number as it stands in a text: its figure, and the words before and after it."""

    figure: str
    negative: bool
    before: tuple[str, ...]
    after: tuple[str, ...]


class _Unit(NamedTuple):
    """A codebook's unit such as "million USD": its magnitude, and what is counted in it."""

    scale: int
    name: str | None


def read_number(text: str, unit: str | None, conventions: Conventions) -> float:
    """The number that a text stands for, in the unit.

    Raises:
        CoercionError: where it stands for none, for several, or for another unit.
    """
    if len(text) > 100:
        raise CoercionError("is too long to be a number")
    digits = "".join(str(unicodedata.decimal(character, character)) for character in text)
    spelled = digits.translate(_SPELLED_ALIKE).strip()
    if not re.search(r"\d", spelled):
        return _in_words(spelled, unit, conventions.locales)
    written = _written(_without_unit(spelled, unit))
    wanted = _unit(unit, conventions.locales)
    if wanted.scale > 1 and (written.before or written.after):
        written = _written(spelled)  # "5 thousand million USD" is not five thousand times the unit
    plain = _plain_figure(written.figure, conventions)
    value = _exact(f"-{plain}" if written.negative else plain)
    if written.before or written.after:
        value = _in_unit(value, written, wanted, conventions.locales)
    return _as_float(value, has_exponent="e" in plain.lower())


def _in_words(text: str, unit: str | None, locales: "tuple[Locale, ...]") -> float:
    """A number in words, with or without the unit: twelve days."""
    words = text.split()
    if len(words) > 1 and _is_unit(words[-1], unit):
        words.pop()
    meant = whole_number(" ".join(words), locales)
    if meant is None:
        raise CoercionError("holds no figure")
    if _unit(unit, locales).scale > 1:
        raise CoercionError(f"is in words, but the unit has a magnitude: {unit}")
    return _as_float(Fraction(meant), has_exponent=False)


def _written(text: str) -> _Written:
    """The figure without its sign and brackets, and whether it is negative."""
    found = _FIGURE.search(text)
    if not found:
        raise CoercionError("holds no figure")
    figure, before, after = found.group(), text[: found.start()], text[found.end() :]
    if figure.startswith(".") and before[-1:].isalpha():
        raise CoercionError(f"has a dot that may be of the word before it; {_FORM}")
    in_brackets = "(" in before and ")" in after
    if in_brackets:
        before, after = before.replace("(", " ", 1), after.replace(")", " ", 1)
    sign = re.search("[+-]", before)
    if sign:
        before = before.replace(sign.group(), " ", 1)
    if sign and in_brackets:
        raise CoercionError("has both a sign and brackets")
    negative = in_brackets or (sign is not None and sign.group() == "-")
    return _Written(figure, negative, _words(before), _words(after))


def _words(text: str) -> tuple[str, ...]:
    """The words, with currencies' signs and East Asian magnitudes as words of their own: M€, 億円."""
    return tuple(re.sub(r"(?<=[^\W\d_])(?=[€£¥₹])|(?<=[€£¥₹万萬億亿兆만억조])(?=[^\W\d_])", " ", text).split())


def _plain_figure(figure: str, conventions: Conventions) -> str:
    if _EITHER.fullmatch(figure) and conventions.has_decimal_comma:
        raise CoercionError(f"could have thousands or decimals after its separator; {_FORM}")
    for form, thousands, point in _FORMS:
        if form.fullmatch(figure):
            return figure.replace(thousands, "").replace(point, ".")
    raise CoercionError(f"cannot be read as one number; {_FORM}")


def _exact(plain: str) -> Fraction:
    number = float(plain)
    if abs(number) == float("inf"):
        raise CoercionError("is too large a number")
    if number == 0:
        if re.search("[1-9]", plain.lower().partition("e")[0]):
            raise CoercionError("is too small a number")
        return Fraction(0)  # as written, 0e999999999 would fill the memory
    return Fraction(Decimal(plain))


def _as_float(value: Fraction, *, has_exponent: bool) -> float:
    if not has_exponent and abs(value) > _MOST:
        raise CoercionError("is too large to be held exactly; make the variable a text if it is an identifier")
    try:
        return float(value) or 0.0  # no minus zero
    except OverflowError:
        raise CoercionError("is too large a number") from None


def _without_unit(text: str, unit: str | None) -> str:
    for name in _names(unit):
        flags = re.IGNORECASE if len(name) > _SHORT else re.NOFLAG
        matched = re.fullmatch(rf"(.*[0-9)]) ?{re.escape(name)}|{re.escape(name)} ?([-+.(0-9].*)", text, flags)
        if matched:
            return matched[1] or matched[2]
    return text


def _names(unit: str | None) -> set[str]:
    return {unit, f"{unit}s", unit.removesuffix("s")} if unit else set()


def _is_unit(word: str, unit: str | None) -> bool:
    return any(word == name or (len(name) > _SHORT and name_key(word) == name_key(name)) for name in _names(unit))


def _in_unit(value: Fraction, written: _Written, wanted: _Unit, locales: "tuple[Locale, ...]") -> Fraction:
    """The value by the words beside its figure."""
    scale, rest = _leading_magnitude(written.after, written.before, wanted, locales)
    if scale == 1 and wanted.scale > 1:
        raise CoercionError(f"does not say its magnitude, and the unit is one of {wanted.scale:,}")
    after = " ".join(rest[1:] if scale > 1 and rest[:1] in (("de",), ("of",)) else rest)
    if _is_unit(after, wanted.name) and not written.before:
        return value * scale / wanted.scale
    if _is_measured_in(after, wanted, locales) and not written.before:
        from winnow.units import converted

        return converted(value * scale, after, wanted.name or "", locales) / wanted.scale
    for words in (" ".join(written.before), after):
        _accept_beside_figure(words, wanted.name, scale)
    return value * scale / wanted.scale


def _is_measured_in(word: str, wanted: _Unit, locales: "tuple[Locale, ...]") -> bool:
    if not word or not wanted.name or name_key(word) in PERCENT:
        return False
    from winnow.units import is_measure

    return is_measure(word, locales) and is_measure(wanted.name, locales)


def _accept_beside_figure(words: str, unit: str | None, scale: int) -> None:
    if not words:
        return
    if name_key(words) in PERCENT and scale == 1:
        if unit and not any(name in name_key(unit) for name in PERCENT):
            raise CoercionError(f"is a percentage, but the unit is {unit}")
        return
    named = currencies(words)
    if not named:
        raise CoercionError(f"has words or signs beside its figure; {_FORM}")
    if unit and not named & currencies(unit):
        raise CoercionError(f"is in another currency or unit than {unit}")


def _leading_magnitude(
    after: Sequence[str], before: Sequence[str], wanted: _Unit, locales: "tuple[Locale, ...]"
) -> tuple[int, Sequence[str]]:
    """The magnitude that the first of the words name, or 1, and the other words."""
    for count in (3, 2, 1):
        words, rest = after[:count], after[count:]
        sizes = magnitudes(locales).get(magnitude_key(words), set()) if len(words) == count else set()
        if not sizes or not _is_magnitude(words, (*before, *rest), wanted, locales):
            continue
        if _is_also_a_unit(words, locales):
            raise CoercionError(f"has a word that may be a magnitude or a unit: {' '.join(words)}")
        if len(sizes) > 1:
            meant = " or ".join(f"{size:,}" for size in sorted(sizes))
            raise CoercionError(f"has a word that may mean {meant}: {' '.join(words)}")
        return min(sizes), rest
    return 1, after


def _is_magnitude(words: Sequence[str], others: Sequence[str], wanted: _Unit, locales: "tuple[Locale, ...]") -> bool:
    """A letter alone is one beside money; k is one of whatever is not measured: 5 k may be a run of 5 km."""
    letter = magnitude_key(words)
    if len(letter) > 1 or not letter.isascii():
        return True
    if letter == "k":
        return not _is_measured_in(wanted.name or "", wanted, locales)
    return any(currencies(name) for name in (*others, wanted.name or ""))


def _is_also_a_unit(words: Sequence[str], locales: "tuple[Locale, ...]") -> bool:
    """Whether a word for a magnitude is one for a unit too, as mi in Portuguese; no English one is."""
    if not locales or len(" ".join(words)) < _SHORT:
        return False
    from winnow.units import is_measure

    return is_measure(" ".join(words), locales)


def _unit(unit: str | None, locales: "tuple[Locale, ...]") -> _Unit:
    """The unit without its magnitude: "million USD", "EUR (thousands)"; "cases per million" has none."""
    words = [word for word in re.split(r"[\s()]+", unit or "") if word]
    known = magnitudes(locales)
    for words_of_size, others in ((words[:1], words[1:]), (words[-1:], words[:-1])):
        key = magnitude_key(words_of_size)
        name = " ".join(others) or None
        is_word = len(key) > 1 or bool(currencies(name or ""))  # m EUR, but not m
        if (
            is_word
            and not _is_also_a_unit(words_of_size, locales)
            and len(known.get(key, ())) == 1
            and not {"per", "/"} & set(words)
        ):
            return _Unit(min(known[key]), name)
    return _Unit(1, unit)
