"""From the text that a model wrote to a variable's value: read where there is one way to read it, else refused.

Numbers: a single dot is the decimal point, as asked of the model ("1.250" is one and a quarter). A single comma parts
thousands where exactly three digits follow a group that can lead ("1,250"), and is a decimal comma elsewhere ("1,25",
"0,250"). Whole numbers are exact, up to 2**53. Dates: ISO 8601, or with the month's name; "03/04/2006" and its like
are refused even where only one reading is possible, so that a column never depends on the luck of the day.
"""

import re
import unicodedata
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache

from pydantic import TypeAdapter, ValidationError

from winnow.codebook import Variable, name_key, pattern_adapter
from winnow.documents import clean_text
from winnow.extractions import Value


class CoercionError(ValueError):
    """The text cannot be read as the variable's type. The message is for people, and may quote the text."""


def coerce(raw: str, variable: Variable) -> Value:
    """The value that a text stands for.

    Raises:
        CoercionError: where it stands for none, or could stand for several.
    """
    text = clean_text(raw).strip()
    if not text:
        raise CoercionError("is empty")
    return _READERS[variable.type](text, variable)


def broken_rule(value: Value, variable: Variable) -> str | None:
    """Which of the variable's rules the value breaks, in words; None where it keeps them all."""
    rules = variable.validation
    if rules.min is not None and _is_below(value, rules.min):
        return f"is below the minimum, {rules.min}"
    if rules.max is not None and _is_below(rules.max, value):
        return f"is above the maximum, {rules.max}"
    if rules.pattern is not None and not _matches(str(value), rules.pattern):
        return f"does not match the pattern {rules.pattern}"
    if rules.allowed is not None and not any(_is_same(value, entry, variable) for entry in rules.allowed):
        return f"is not one of the allowed values: {', '.join(rules.allowed)}"
    return None


def _is_below(one: Value, other: Value) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        # A date without its day or month keeps a limit that any day of it would keep.
        shared = min(len(one), len(other))
        return one[:shared] < other[:shared]
    return not isinstance(one, str) and not isinstance(other, str) and one < other


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> TypeAdapter[str]:
    return pattern_adapter(pattern)


def _matches(value: str, pattern: str) -> bool:
    try:
        _compiled(pattern).validate_python(value)
    except ValidationError:
        return False
    return True


def _is_same(value: Value, entry: str, variable: Variable) -> bool:
    if variable.type == "text":
        return name_key(str(value)) == name_key(entry)
    try:
        return coerce(entry, variable) == value
    except CoercionError:
        return False


def _text(text: str, variable: Variable) -> str:
    """The text, in the codebook's spelling where it is one of the allowed ones."""
    allowed = variable.validation.allowed or ()
    return next((entry for entry in allowed if name_key(entry) == name_key(text)), text)


def _category(text: str, variable: Variable) -> str:
    wanted = name_key(text)
    by_value = [category.value for category in variable.categories if name_key(category.value) == wanted]
    by_label = [category.value for category in variable.categories if name_key(category.label or "") == wanted]
    named = by_value or by_label
    if len(named) != 1:
        known = ", ".join(category.value for category in variable.categories)
        raise CoercionError(f"{'is the label of several' if named else 'is not one of the'} categories: {known}")
    return named[0]


_TRUTH = {"true": True, "yes": True, "y": True, "1": True, "false": False, "no": False, "n": False, "0": False}


def _boolean(text: str, variable: Variable) -> bool:  # noqa: ARG001 # one form for all readers
    truth = _TRUTH.get(name_key(text))
    if truth is None:
        raise CoercionError("is neither true nor false")
    return truth


# Numbers: what may stand around the figure, then the figure itself.

_FIGURES: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
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
_MOST = 2**53  # beyond it a float no longer holds every whole number
_SPELLED_ALIKE = str.maketrans(
    dict.fromkeys("\u00a0\u2007\u2009\u202f\t\n", " ") | dict.fromkeys("−–﹣－", "-") | {"’": "'", "٫": ".", "٬": ","}
)


def _number(text: str, variable: Variable) -> float:
    if len(text) > 100:
        raise CoercionError("is too long to be a number")
    digits = "".join(str(unicodedata.decimal(character, character)) for character in text)
    figure, negative = _bare_figure(digits.translate(_SPELLED_ALIKE), variable.unit)
    for form, thousands, point in _FIGURES:
        if form.fullmatch(figure):
            plain = figure.replace(thousands, "").replace(point, ".")
            return _as_float(f"-{plain}" if negative else plain)
    raise CoercionError("cannot be read as one number; the form is 1250000.5")


def _as_float(plain: str) -> float:
    number = float(plain)
    if abs(number) == float("inf"):
        raise CoercionError("is too large a number")
    if "e" not in plain.lower() and abs(Decimal(plain)) > _MOST:
        raise CoercionError("is too large to be held exactly; make the variable a text if it is an identifier")
    if number == 0 and re.search("[1-9]", plain.lower().partition("e")[0]):
        raise CoercionError("is too small a number")
    return number or 0.0  # no minus zero


def _bare_figure(text: str, unit: str | None) -> tuple[str, bool]:
    """The figure without its unit, currency, percent sign and sign, and whether it is negative."""
    text = _without_unit(text.strip(), unit)
    first = re.search(r"\.?[0-9]", text)
    last = max((at for at, character in enumerate(text) if character in "0123456789"), default=-1)
    if not first:
        raise CoercionError("holds no figure")
    before, after = text[: first.start()], text[last + 1 :]
    in_brackets = "(" in before and ")" in after
    if in_brackets:
        before, after = before.replace("(", " ", 1), after.replace(")", " ", 1)
    sign = re.search("[+-]", before)
    if sign:
        before = before.replace(sign.group(), " ", 1)
    for word in (*before.split(), *after.split()):
        _accept_beside_figure(word, unit)
    if sign and in_brackets:
        raise CoercionError("has both a sign and brackets")
    return text[first.start() : last + 1], in_brackets or (sign is not None and sign.group() == "-")


def _without_unit(text: str, unit: str | None) -> str:
    for name in {unit, f"{unit}s", unit.removesuffix("s")} if unit else ():
        # "5 M" is no length in m: short units keep their case.
        flags = re.IGNORECASE if len(name) > 2 else re.NOFLAG
        matched = re.fullmatch(rf"(.*[0-9)]) ?{re.escape(name)}|{re.escape(name)} ?([-+.(0-9].*)", text, flags)
        if matched:
            return matched[1] or matched[2]
    return text


_PERCENT = {"%", "percent", "per cent", "pct"}
_CODES = re.compile(
    "aed|ars|aud|bdt|bgn|brl|cad|chf|clp|cny|cop|czk|dkk|egp|eur|gbp|hkd|huf|idr|ils|inr|jpy|kes|krw|kwd|kzt|"
    "mad|mxn|myr|ngn|nok|nzd|pen|php|pkr|pln|qar|ron|rub|sar|sek|sgd|thb|try|twd|uah|usd|vnd|zar"
)
_CURRENCIES = {
    "$": {"usd", "cad", "aud", "nzd", "hkd", "sgd", "twd", "mxn", "ars", "clp", "cop"},
    "us$": {"usd"}, "c$": {"cad"}, "a$": {"aud"}, "nz$": {"nzd"}, "hk$": {"hkd"}, "s$": {"sgd"}, "r$": {"brl"},
    "us dollar": {"usd"}, "dollar": {"usd", "cad", "aud", "nzd", "hkd", "sgd", "twd"},
    "€": {"eur"}, "euro": {"eur"}, "£": {"gbp", "egp"}, "pound": {"gbp", "egp"}, "¥": {"jpy", "cny"}, "yen": {"jpy"},
    "₹": {"inr"}, "₽": {"rub"}, "₩": {"krw"}, "₺": {"try"}, "₴": {"uah"}, "₪": {"ils"}, "฿": {"thb"},
}  # fmt: skip


def _accept_beside_figure(word: str, unit: str | None) -> None:
    if name_key(word) in _PERCENT:
        if unit and not any(name in name_key(unit) for name in _PERCENT):
            raise CoercionError(f"is a percentage, but the unit is {unit}")
        return
    currencies = _currencies(word)
    if not currencies:
        raise CoercionError("has words or signs beside its figure; the form is 1250000.5")
    if unit and not currencies & _currencies(unit):
        raise CoercionError(f"is in another currency or unit than {unit}")


def _currencies(name: str) -> set[str]:
    """The codes of the currencies that a code, sign or name can mean; none for other words."""
    key = name_key(name)
    if _CODES.fullmatch(key) or (len(key) == 1 and unicodedata.category(key) == "Sc" and key not in _CURRENCIES):
        return {key}
    return _CURRENCIES.get(key) or _CURRENCIES.get(key.removesuffix("s")) or set()


# Dates: the forms taken, in lower case.

_MONTH_NAMES = (
    "january jan", "february feb", "march mar", "april apr", "may", "june jun", "july jul", "august aug",
    "september sep sept", "october oct", "november nov", "december dec",
)  # fmt: skip
_MONTHS = {name: number for number, names in enumerate(_MONTH_NAMES, start=1) for name in names.split()}
_DAY, _MONTH, _YEAR = "(?P<day>[0-9]{1,2})", r"(?P<month>[0-9]{1,2})", "(?P<year>[0-9]{4})"
_NAMED, _NTH = r"(?P<month>[a-z]{3,9})\.?", f"{_DAY}( ?(st|nd|rd|th))?"
_DATES = tuple(
    re.compile(form)
    for form in (
        rf"{_YEAR}(-(?P<month>[0-9]{{2}}))?",  # 2006, 2006-05
        rf"{_YEAR}(?P<gap>[-/.]){_MONTH}(?P=gap){_DAY}",  # 2006-05-01
        rf"{_YEAR}年{_MONTH}月({_DAY}日)?",  # 2006年5月1日
        rf"({_NTH}( day)?( of)?[ -])?{_NAMED}(, |[ ,-]){_YEAR}",  # 1 May 2006, 1st day of May, 2006; May 2006
        rf"{_NAMED} {_NTH}(, |[ ,]){_YEAR}",  # May 1, 2006
    )
)
_MOMENT = re.compile(r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})[tT ][0-9]{2}:[0-9]{2}.*")


def _date(text: str, variable: Variable) -> str:  # noqa: ARG001
    written = name_key(text)
    for form in _DATES:
        if match := form.fullmatch(_day_of(written)):
            parts = match.groupdict()
            return _iso_date(parts["year"], parts.get("month"), parts.get("day"))
    if re.fullmatch(r"[0-9]{1,2}([-/. ])[0-9]{1,2}\1[0-9]{2,4}", written):
        raise CoercionError("could have its day or its month first; the form is YYYY-MM-DD")
    raise CoercionError("cannot be read as a date; the form is YYYY-MM-DD, YYYY-MM or YYYY")


def _day_of(written: str) -> str:
    """The date of an ISO date with a time, as written: never moved to another time zone."""
    moment = _MOMENT.fullmatch(written)
    if not moment:
        return written
    try:
        datetime.fromisoformat(written.upper())
    except ValueError:
        raise CoercionError("has a time that does not exist, or not in ISO form") from None
    return moment["date"]


def _iso_date(year: str, month: str | None, day: str | None) -> str:
    """ISO 8601 with as many parts as are given."""
    number = None if month is None else int(month) if month.isdecimal() else _MONTHS.get(month, 0)
    try:
        whole = date(int(year), 1 if number is None else number, int(day or 1)).isoformat()
    except ValueError:
        raise CoercionError("is a date that does not exist") from None
    return whole[:4] if number is None else whole[:7] if day is None else whole


_READERS: dict[str, Callable[[str, Variable], Value]] = {
    "text": _text,
    "number": _number,
    "date": _date,
    "category": _category,
    "boolean": _boolean,
}
