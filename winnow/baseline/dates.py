"""Dates in a passage, in the forms that people write them, as ISO 8601."""

import re
from dataclasses import dataclass
from datetime import date

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january jan januar jänner janvier", "february feb februar février fevrier", "march mar märz maerz mars",
            "april apr avril", "may mai", "june jun juni juin", "july jul juli juillet", "august aug août aout",
            "september sept sep septembre", "october oct oktober okt octobre", "november nov novembre",
            "december dec dezember dez décembre decembre",
        ),
        start=1,
    )
    for name in names.split()
}  # fmt: skip
WEEKDAYS = frozenset(
    day
    for week in (
        "monday tuesday wednesday thursday friday saturday sunday",
        "montag dienstag mittwoch donnerstag freitag samstag sonnabend sonntag",
        "lundi mardi mercredi jeudi vendredi samedi dimanche",
    )
    for day in week.split()
)
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_YEAR = r"(?:1[5-9]|20|21)[0-9]{2}"
_FORMS = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"(?<![\w-])(?P<y>{_YEAR})-(?P<m>[01][0-9])-(?P<d>[0-3][0-9])(?![0-9-])",
        rf"(?<![\w.])(?P<d>[0-3]?[0-9])\.\s?(?P<m>[01]?[0-9])\.\s?(?P<y>{_YEAR})(?![0-9])",
        rf"(?<![\w.,])(?P<d>[0-3]?[0-9])\.?(?:\s?(?:st|nd|rd|th|er)\b)?,?\s+(?:day\s+of\s+|of\s+)?(?P<n>{_MONTH})\b\.?,?"
        rf"\s+(?P<y>{_YEAR})(?![0-9])",
        rf"\b(?P<n>{_MONTH})\b\.?\s+(?P<d>[0-3]?[0-9])(?:\s?(?:st|nd|rd|th))?\s?,?\s+(?P<y>{_YEAR})(?![0-9])",
        rf"(?<![\w/])(?P<a>[0-3]?[0-9])/(?P<b>[0-3]?[0-9])/(?P<y>{_YEAR})(?![0-9/])",
        rf"\b(?P<n>{_MONTH})\b,?\s+(?P<y>{_YEAR})(?![0-9])",
    )
)


@dataclass(frozen=True, slots=True)
class FoundDate:
    """A date of the text."""

    start: int
    end: int
    value: str  # YYYY-MM-DD, or YYYY-MM where the text gives no day


def find_dates(text: str, start: int, end: int, american: bool) -> list[FoundDate]:
    """The dates of text[start:end]. 03/04/2006 is read with the month first in American texts, elsewhere not at all."""
    found: list[FoundDate] = []
    for form in _FORMS:
        for match in form.finditer(text, start, end):
            apart = all(match.end() <= other.start or match.start() >= other.end for other in found)
            if apart and (value := _iso(match.groupdict(), american)):
                found.append(FoundDate(match.start(), match.end(), value))
    return sorted(found, key=lambda one: one.start)


def _iso(parts: dict[str, str | None], american: bool) -> str | None:
    year = int(parts["y"] or 0)
    if parts.get("a") is not None:
        return _slashed(int(parts["a"] or 0), int(parts["b"] or 0), year, american)
    month = _MONTHS[name.casefold()] if (name := parts.get("n")) else int(parts.get("m") or 0)
    if "d" not in parts:
        return f"{year:04}-{month:02}"
    return _valid(year, month, int(parts["d"] or 0))


def _slashed(first: int, second: int, year: int, american: bool) -> str | None:
    if first > 12:
        return _valid(year, second, first)
    if american or second > 12:
        return _valid(year, first, second)
    return _valid(year, first, second) if first == second else None


def _valid(year: int, month: int, day: int) -> str | None:
    try:
        return date(year, month, day).isoformat()
    except ValueError:
        return None
