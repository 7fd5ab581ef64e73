"""Units of measurement: their words in the codebook's language and in English from CLDR, their factors from pint.

A text is only ever looked up among known words. Units that mean several things are not among them: tons, gallons,
ounces, calories, megabytes. Months and years are no fixed number of days.
"""

import unicodedata
from collections import defaultdict
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from winnow.conventions import CoercionError, plain_text

if TYPE_CHECKING:
    from babel import Locale

# CLDR's units; pint's name is the last part, but for those of `_NAMED_OTHERWISE`.
_UNITS = """
length-nanometer length-micrometer length-millimeter length-centimeter length-decimeter length-meter length-kilometer
length-inch length-foot length-yard length-mile length-nautical-mile
area-square-centimeter area-square-meter area-square-kilometer area-hectare
area-square-inch area-square-foot area-square-yard area-square-mile area-acre
volume-milliliter volume-centiliter volume-deciliter volume-liter volume-hectoliter volume-megaliter
volume-cubic-centimeter volume-cubic-meter volume-cubic-kilometer volume-cubic-inch volume-cubic-foot volume-cubic-yard
mass-microgram mass-milligram mass-gram mass-kilogram mass-tonne mass-pound mass-stone
duration-millisecond duration-second duration-minute duration-hour duration-day duration-week
duration-month duration-year duration-decade
energy-joule energy-kilojoule energy-kilowatt-hour power-milliwatt power-watt power-kilowatt power-megawatt
power-gigawatt speed-meter-per-second speed-kilometer-per-hour speed-mile-per-hour speed-knot
pressure-pascal pressure-hectopascal pressure-kilopascal pressure-megapascal pressure-bar pressure-millibar
electric-volt electric-ampere electric-milliampere frequency-hertz frequency-kilohertz frequency-megahertz
frequency-gigahertz temperature-celsius temperature-fahrenheit temperature-kelvin
"""
_NAMED_OTHERWISE = {"celsius": "degC", "fahrenheit": "degF", "acre": "common_acre"}
_ALSO = {
    "Wh": "watt_hour", "MWh": "megawatt_hour", "GWh": "gigawatt_hour", "TWh": "terawatt_hour", "TW": "terawatt",
    "h": "hour", "d": "day", "s": "second", "lbs": "pound", "kgs": "kilogram", "kt": "kilotonne", "Mt": "megatonne",
    "sqm": "meter ** 2", "sq m": "meter ** 2", "sq km": "kilometer ** 2", "sqft": "foot ** 2", "mph": "mile / hour",
    "metric ton": "tonne", "metric tons": "tonne", "square metres": "meter ** 2", "year(s)": "year",
    "month(s)": "month", "week(s)": "week", "day(s)": "day", "hour(s)": "hour",
}  # fmt: skip
_OLD_ELSEWHERE = {"mass-pound", "mass-stone", "length-mile"}  # a Pfund is half a kilogram, and a Meile was 7.5 km
_CALENDAR = {"month", "year", "decade"}


def is_measure(word: str, locales: "tuple[Locale, ...]") -> bool:
    """Whether the word is the name or sign of a unit that can be converted."""
    return bool(_meanings(word, locales))


def converted(value: Fraction, word: str, unit: str, locales: "tuple[Locale, ...]") -> Fraction:
    """The value in `unit` of so much in the unit that `word` names; exact.

    Raises:
        CoercionError: where they measure different things, or stand in no fixed relation.
    """
    pairs = [(given, wanted) for given in _meanings(word, locales) for wanted in _meanings(unit, locales)]
    fixed = [(given, wanted) for given, wanted in pairs if (given in _CALENDAR) == (wanted in _CALENDAR)]
    results = set().union(*(_in_unit(value, given, wanted) for given, wanted in fixed))
    if len(results) != 1:
        why = "measures something else" if fixed else "is no fixed number of it"
        raise CoercionError(f"cannot be converted to {unit}: {word} {why}")
    return results.pop()


def _in_unit(value: Fraction, given: str, wanted: str) -> set[Fraction]:
    import pint

    registry = _registry()
    try:
        quantity = registry.Quantity(value, given).to(wanted)
    except pint.DimensionalityError:
        return set()
    return {Fraction(quantity.magnitude)}


@lru_cache(maxsize=1)
def _registry() -> Any:
    import pint

    registry: Any = pint.UnitRegistry(non_int_type=Fraction)
    registry.define("common_acre = 4840 * yard ** 2")  # pint's is of the survey foot, which was given up in 2022
    return registry


@lru_cache(maxsize=512)
def _meanings(word: str, locales: "tuple[Locale, ...]") -> frozenset[str]:
    words = _words(locales)
    return frozenset(words.get(_sign(word)) or words.get(_name(word)) or ())


def _sign(word: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", word).split())


def _name(word: str) -> str:
    """Names may be written in any case, signs not: mW and MW are two units."""
    return plain_text(word) if len(word) > 3 else _sign(word)


def _pint_name(cldr: str) -> str:
    """length-nautical-mile: nautical_mile; speed-meter-per-second: meter / second; area-square-foot: foot ** 2."""
    name = cldr.partition("-")[2]
    for power, word in ((2, "square-"), (3, "cubic-")):
        if name.startswith(word):
            return f"{name.removeprefix(word)} ** {power}"
    return _NAMED_OTHERWISE.get(name) or name.replace("-per-", " / ").replace("-", "_")


@lru_cache(maxsize=16)
def _words(locales: "tuple[Locale, ...]") -> dict[str, set[str]]:
    from babel import Locale
    from babel.units import format_unit

    words: dict[str, set[str]] = defaultdict(set)
    for locale in (Locale("en"), Locale("en", "GB"), *locales):
        for cldr in set(_UNITS.split()) - (set() if locale.language == "en" else _OLD_ELSEWHERE):
            for count in (1, 2, 3, 5, 21, 100):  # forms of the plural
                for length in ("long", "short"):
                    written = format_unit(count, cldr, length, locale=locale)
                    word = "".join(letter for letter in written if not letter.isdecimal() and letter != "\u200f")
                    words[_sign(word)].add(_pint_name(cldr))
                    words[_name(_sign(word))].add(_pint_name(cldr))
    for word, name in _ALSO.items():
        words[word].add(name)
    words.pop("", None)
    return dict(words)
