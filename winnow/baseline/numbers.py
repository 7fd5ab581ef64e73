"""Numbers in a passage, as plain decimals, with what they count."""

import re
from dataclasses import dataclass
from decimal import Decimal

_DIGITS = re.compile(
    r"(?:(?<![\w.,/])(?<!\w-)|(?<=EUR)|(?<=USD)|(?<=CHF))(?:[-−](?=[0-9]))?"
    r"(?P<body>[0-9]{1,3}(?:[.,'’\xa0\u202f\u2009 ][0-9]{3})+(?![0-9])(?:[.,][0-9]{1,4})?"
    r"|[0-9]{1,18}(?:[.,][0-9]{1,6})?)"
    r"(?![\w/]|[-][0-9A-Za-z]|[.,][0-9])"
)
_SCALES = {
    "thousand": 3, "tsd": 3, "tausend": 3, "mille": 3, "million": 6, "millions": 6, "millionen": 6, "mio": 6, "mn": 6,
    "billion": 9, "billions": 9, "milliarden": 9, "milliarde": 9, "mrd": 9, "bn": 9,
}  # fmt: skip
_SCALE = re.compile(rf"\s?({'|'.join(sorted(_SCALES, key=len, reverse=True))})\b\.?", re.IGNORECASE)
_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_SMALL = {word: number for number, word in enumerate(_ONES.split())} | {
    word: 20 + 10 * number for number, word in enumerate(_TENS.split())
}
_SPELLED_WORD = "|".join([*_SMALL, "hundred", "thousand", "million"])
_SPELLED = re.compile(
    rf"\b(?:(?:{_SPELLED_WORD})|a(?=\s+(?:hundred|thousand|million)))"
    rf"(?:(?:\s+and)?[\s-]+(?:{_SPELLED_WORD}))*\b",
    re.IGNORECASE,
)

_CURRENCIES = {
    "EUR": r"EUR|€|euros?",
    "USD": r"USD|US\$|\$|(?:US )?dollars?",
    "GBP": r"GBP|£|pounds?(?: sterling)?",
    "CHF": r"CHF|Fr\.|SFr\.?|(?:Swiss )?francs?|Franken",
    "JPY": r"JPY|¥|yen",
    "SEK": r"SEK",
    "NOK": r"NOK",
    "DKK": r"DKK",
    "PLN": r"PLN|zł|zloty",
    "INR": r"INR|₹|rupees?",
    "CNY": r"CNY|RMB|yuan",
    "CAD": r"CAD|CA\$",
    "AUD": r"AUD|AU\$",
}
_PERCENT = r"%|percent|per cent|Prozent|v\. ?H\.|pour cent|percentage points?"
_UNITS = {**_CURRENCIES, "percent": _PERCENT}
_BEFORE = {unit: re.compile(rf"(?:^|[^\w])(?:{forms})\s?$", re.IGNORECASE) for unit, forms in _UNITS.items()}
_AFTER = {unit: re.compile(rf"[\s-]?\s?(?:[)]\s?)?(?:{forms})(?!\w)", re.IGNORECASE) for unit, forms in _UNITS.items()}
_WHOLE = {unit: re.compile(rf"(?:{forms})\Z", re.IGNORECASE) for unit, forms in _UNITS.items()}


@dataclass(frozen=True, slots=True)
class FoundNumber:
    """A number of the text with what stands beside it."""

    start: int
    end: int
    value: str  # plain decimal
    unit: str | None  # a currency's code or `percent`, where the text says so
    after: str  # the words that follow, for other units


def unit_of(name: str | None) -> str | None:
    """The currency or `percent` that a codebook's unit means; None for any other."""
    return next((unit for unit, whole in _WHOLE.items() if name and whole.match(name.strip())), None)


def find_numbers(text: str, start: int, end: int, taken: list[tuple[int, int]], european: bool) -> list[FoundNumber]:
    """The numbers of text[start:end] outside the spans taken, not counting the number that a section begins with."""
    found = []
    for match in _DIGITS.finditer(text, start, end):
        if _is_free(match, taken) and not _is_enumerator(text, match, start):
            found.append(_number(text, match, start, end, european))
    spelled = (_spelled(text, match, end) for match in _SPELLED.finditer(text, start, end))
    found += [number for number in spelled if number]
    return sorted(found, key=lambda number: number.start)


def _is_free(match: re.Match[str], taken: list[tuple[int, int]]) -> bool:
    return all(match.end() <= first or match.start() >= last for first, last in taken)


def _is_enumerator(text: str, match: re.Match[str], start: int) -> bool:
    head = text[start : match.start()].strip(" \t(§#*")
    opens = not head or head.casefold() in ("article", "section", "clause", "§", "no.", "artikel", "page")
    return opens and len(match.group()) < 6 and bool(re.match(r"[.)]|\s+[A-Z]|$", text[match.end() : match.end() + 3]))


def _number(text: str, match: re.Match[str], start: int, end: int, european: bool) -> FoundNumber:
    before = text[max(start, match.start() - 12) : match.start()]
    scale = _SCALE.match(text, match.end(), end)
    stop = scale.end() if scale else match.end()
    after = text[stop : min(end, stop + 40)]
    unit = _unit(before, after)
    value = _plain(match.group("body"), european, money=unit in _CURRENCIES)
    if scale:
        value = value.scaleb(_SCALES[scale.group(1).casefold()])
    if match.group()[0] in "-−" and not before[-1:].isalnum():
        value = -value
    return FoundNumber(match.start(), stop, format(value, "f"), unit, after)


def _unit(before: str, after: str) -> str | None:
    behind = next((unit for unit, form in _AFTER.items() if form.match(after)), None)
    return behind or next((unit for unit, form in _BEFORE.items() if form.search(before)), None)


def _plain(body: str, european: bool, money: bool) -> Decimal:
    """The decimal that digits with separators mean. One separator before three digits is the doubtful case."""
    body = re.sub(r"[\s'’]", "", body)
    marks = [character for character in body if character in ".,"]
    if len(set(marks)) == 2 and marks.count(marks[-1]) == 1:
        return Decimal(body.replace(marks[0], "").replace(marks[-1], "."))
    if len(marks) > 1:
        return Decimal(re.sub(r"[.,]", "", body))
    if not marks:
        return Decimal(body)
    grouped = len(body) - body.index(marks[0]) == 4 and body[0] != "0"
    thousands = grouped and (money or (marks[0] == ".") == european)
    return Decimal(body.replace(marks[0], "" if thousands else "."))


def _spelled(text: str, match: re.Match[str], end: int) -> FoundNumber | None:
    """A number in English words. "One" alone is left out: it mostly counts nothing."""
    words = [word for word in re.split(r"[\s-]+", match.group().casefold()) if word != "and"]
    after = text[match.end() : min(end, match.end() + 40)]
    unit = _unit("", after)
    if len(words) == 1 and (words[0] in ("one", "hundred", "thousand", "million")) and unit is None:
        return None
    total = group = 0
    for word in words:
        if word in ("thousand", "million"):
            total += max(group, 1) * (1000 if word == "thousand" else 1_000_000)
            group = 0
        elif word == "hundred":
            group = max(group, 1) * 100
        else:
            group += 1 if word == "a" else _SMALL[word]
    return FoundNumber(match.start(), match.end(), str(total + group), unit, after)
