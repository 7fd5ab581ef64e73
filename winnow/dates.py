"""Dates from text, with as many parts as are written, to ISO 8601: YYYY-MM-DD, YYYY-MM or YYYY.

Taken are ISO 8601, years first, and months by their names: in English always, and in the codebook's language in the
forms that CLDR gives for it. "03/04/2006" and its like are read in the codebook's `date_order`, and refused without
one even where only one reading is possible, so that a column never depends on the luck of the day. Nothing is filled
in: no century, no year, no day; and no other calendar is converted.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from winnow.codebook import DateOrder
from winnow.conventions import CoercionError, Conventions, plain_text

if TYPE_CHECKING:
    from babel import Locale

_FORM = "the form is YYYY-MM-DD, YYYY-MM or YYYY"
_MONTH_NAMES = (
    "january jan", "february feb", "march mar", "april apr", "may", "june jun", "july jul", "august aug",
    "september sep sept", "october oct", "november nov", "december dec",
)  # fmt: skip
_MONTHS = {name: number for number, names in enumerate(_MONTH_NAMES, start=1) for name in names.split()}
_DAY, _MONTH, _YEAR = "(?P<day>[0-9]{1,2})", r"(?P<month>[0-9]{1,2})", "(?P<year>[0-9]{4})"
_NAMED, _NTH = rf"(?P<month>{'|'.join(_MONTHS)})\.?", f"(the )?{_DAY}( ?(st|nd|rd|th))?"
_DATES = tuple(
    re.compile(form)
    for form in (
        rf"{_YEAR}(-(?P<month>[0-9]{{2}}))?",  # 2006, 2006-05
        rf"{_YEAR}(?P<gap>[-/.]){_MONTH}(?P=gap){_DAY}",  # 2006-05-01
        rf"{_MONTH}[-/.]{_YEAR}",  # 05/2006
        rf"{_YEAR}年{_MONTH}月({_DAY}日)?",  # 2006年5月1日
        rf"({_NTH}( day)?( of)?[ -])?{_NAMED}(, |[ ,-]){_YEAR}",  # 1 May 2006, 1st day of May, 2006; May 2006
        rf"{_NAMED} {_NTH}(, |[ ,]){_YEAR}",  # May 1, 2006
    )
)
_MOMENT = re.compile(r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})[t ][0-9]{2}:[0-9]{2}.*")
_IN_ORDER = re.compile(r"(?P<first>[0-9]{1,2})(?P<gap> ?[-/. ] ?)(?P<second>[0-9]{1,2})(?P=gap)(?P<year>[0-9]{2,4})\.?")
_OTHER_CALENDAR = re.compile(r"令和|平成|昭和|大正|明治|民國|民国|พ\.ศ|هـ|[0-9] ?ah$|[0-9] ?b\.?e\.?$|\bhijri\b")
# Years that the language's own calendar counts today, and that were long ago in ours.
_OWN_YEARS = {"th": range(2400, 2700), "fa": range(1200, 1500), "ar": range(1300, 1500), "he": range(5600, 6000)}


def read_date(text: str, conventions: Conventions) -> str:
    """The date that a text stands for, in ISO 8601 with the parts that the text has.

    Raises:
        CoercionError: where it stands for none, or could stand for several.
    """
    if len(text) > 100:
        raise CoercionError(f"is too long to be a date; {_FORM}")
    written = _day_of(plain_text(text))
    if match := _IN_ORDER.fullmatch(written):
        return _of_our_calendar(_iso_date(_in_order(match, conventions.date_order)), conventions.locales)
    readings = {_iso_date(parts) for parts in _readings(written, conventions)}
    if len(readings) > 1:
        raise CoercionError(f"could be {' or '.join(sorted(readings))}; {_FORM}")
    if readings:
        return _of_our_calendar(readings.pop(), conventions.locales)
    if _OTHER_CALENDAR.search(written):
        raise CoercionError(f"is in another calendar than the Gregorian; {_FORM}")
    raise CoercionError(f"cannot be read as a date; {_FORM}")


def _readings(written: str, conventions: Conventions) -> Iterator[Mapping[str, str | None]]:
    """The parts of the date by each form that fits."""
    found = False
    for form in _DATES:
        if match := form.fullmatch(written):
            found = True
            yield match.groupdict()
    if re.search(r"[0-9]", written) and (conventions.locales or not found):
        yield from _readings_by_language(written, conventions)


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


def _iso_date(parts: Mapping[str, str | None]) -> str:
    """ISO 8601 with as many parts as are given."""
    year, month, day = parts["year"] or "", parts.get("month"), parts.get("day")
    number = None if month is None else int(month) if month.isdecimal() else _MONTHS[month]
    try:
        whole = date(int(year), 1 if number is None else number, int(day or 1))
    except ValueError:
        raise CoercionError("is a date that does not exist") from None
    weekday = parts.get("weekday")
    if weekday is not None and int(weekday) != whole.weekday():
        raise CoercionError("names another day of the week than that date has")
    written = whole.isoformat()
    return written[:4] if number is None else written[:7] if day is None else written


def _in_order(match: re.Match[str], order: DateOrder | None) -> dict[str, str | None]:
    first, second, year = match["first"], match["second"], match["year"]
    if len(year) != 4:
        raise CoercionError("has no year of four digits, and its century is not certain; the form is YYYY-MM-DD")
    if order is None:
        raise CoercionError("could have its day or its month first; the form is YYYY-MM-DD")
    if order == "YMD":
        raise CoercionError("has its year last, but the codebook's date_order is YMD")
    day, month = (first, second) if order == "DMY" else (second, first)
    if int(month) > 12 >= int(day):
        raise CoercionError(f"has no month {month}: the codebook's date_order is {order}, and this date has another")
    return {"year": year, "month": month, "day": day}


def _of_our_calendar(iso: str, locales: "tuple[Locale, ...]") -> str:
    if any(int(iso[:4]) in _OWN_YEARS.get(locale.language, ()) for locale in locales):
        raise CoercionError(f"may have its year in another calendar than the Gregorian; {_FORM}")
    return iso


# The forms of a language: CLDR's patterns such as "d 'de' MMMM 'de' y", made into regular expressions.

_FIELDS = re.compile(r"'(?P<quoted>[^']*)'|(?P<field>y+|M+|L+|d+|E+|G+)|(?P<literal>.)")
_ARTICLE = "(?:(?:le|el|il|am|den|dne) )?"
_ORDINAL = r"(?:er|\.?[oa]|°)?"  # 1er mai, 1º de maio


def _readings_by_language(written: str, conventions: Conventions) -> Iterator[dict[str, str | None]]:
    for locale in (*conventions.locales, *_english()):
        months, weekdays = _names(locale, "months"), _names(locale, "days")
        for order, form in _forms(locale):
            # Where figures stand for the month, the order must be sure: year first, or as declared.
            if order and not order.startswith("YM") and order not in ("MY", conventions.date_order):
                continue
            if match := form.fullmatch(written):
                parts = match.groupdict()
                if parts.get("name"):
                    parts["month"] = str(months[parts["name"]])
                if parts.get("weekday"):
                    parts["weekday"] = str(weekdays[parts["weekday"]])
                yield parts


@lru_cache(maxsize=1)
def _english() -> "tuple[Locale, ...]":
    from babel import Locale

    return Locale("en"), Locale("en", "GB")


@lru_cache(maxsize=32)
def _forms(locale: "Locale") -> tuple[tuple[str, re.Pattern[str]], ...]:
    """The order of the parts where the month is in figures, else "", with the form."""
    written = (*locale.date_formats.values(), *locale.datetime_skeletons.values())
    forms = (_form(pattern, locale) for pattern in dict.fromkeys(str(each.pattern) for each in written))
    return tuple(form for form in forms if form)


def _form(pattern: str, locale: "Locale") -> tuple[str, re.Pattern[str]] | None:
    order, expression, glue = "", "", ""
    has_name = False
    for part in _FIELDS.finditer(pattern):
        field = part["field"]
        if not field:
            glue += part["quoted"] or part["literal"] or "'"
            continue
        piece = _field(field, locale)
        if piece is None:
            return None
        expression += _glue(glue) + piece
        glue = ""
        order += {"y": "Y", "M": "M", "L": "M", "d": "D"}.get(field[0], "")
        has_name = has_name or (field[0] in "ML" and len(field) > 2)
    if sorted(order) not in (["D", "M", "Y"], ["M", "Y"]):
        return None
    ending = f"(?:{_glue(glue)})?" if glue else ""
    return "" if has_name else order, re.compile(_ARTICLE + expression + ending)


def _field(field: str, locale: "Locale") -> str | None:
    """The expression for one field; None for those that no date is read from."""
    kind, length = field[0], len(field)
    if kind == "y":
        return None if length == 2 else _YEAR
    if kind == "d":
        return _DAY + _ORDINAL
    if kind == "E":
        return rf"(?P<weekday>{_one_of(_names(locale, 'days'))})\.?"
    if kind == "G":
        return re.escape(plain_text(locale.eras["abbreviated"][1]))  # after Christ
    if length > 4:
        return None
    return _MONTH if length < 3 else rf"(?P<name>{_one_of(_names(locale, 'months'))})\.?"


def _glue(text: str) -> str:
    """What stands between two fields: stops may be missing, spaces after stops too, and words such as "de"."""
    plain = plain_text(f"x{text}x")[1:-1]
    letters = "".join({" ": "(?: |(?<=[.,]))", ".": r"\.?", ",": ",?"}.get(each, re.escape(each)) for each in plain)
    return f"(?:{letters}| )" if plain.startswith(" ") and plain.endswith(" ") and plain.strip() else letters


def _one_of(names: Iterable[str]) -> str:
    return f"(?:{'|'.join(re.escape(name) for name in sorted(names, key=len, reverse=True))})"


@lru_cache(maxsize=64)
def _names(locale: "Locale", what: str) -> dict[str, int]:
    """Names and abbreviations, as `plain_text` without a stop, to their number; those of two months are left out."""
    from babel.localedata import load

    numbers = defaultdict(set)
    for context in ("format", "stand-alone"):
        for width in ("wide", "abbreviated"):
            names = dict(getattr(locale, what)[context][width])
            # What a language only inherits here, Babel may have filled with the names of another language.
            inherited = load("root")[what][context].get(width)
            if context == "format" or not isinstance(inherited, Mapping) or names != dict(inherited):
                for number, name in names.items():
                    numbers[plain_text(name).rstrip(".")].add(int(number))
    return {name: min(found) for name, found in numbers.items() if len(found) == 1}
