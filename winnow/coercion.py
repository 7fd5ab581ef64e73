"""From the text that a model wrote to a variable's value: read where there is one way to read it, else refused.

Numbers are in `winnow.numbers`, dates in `winnow.dates`; here are categories, booleans and a variable's rules.
"""

from collections.abc import Callable
from functools import lru_cache

from pydantic import TypeAdapter, ValidationError

from winnow.codebook import Category, Variable, name_key, pattern_adapter
from winnow.conventions import LONGEST, CoercionError, Conventions, plain_text
from winnow.dates import read_date
from winnow.documents import clean_text
from winnow.extractions import Value
from winnow.numbers import read_number

__all__ = ["CoercionError", "Conventions", "broken_rule", "coerce"]


_UNDECLARED = Conventions()


def coerce(raw: str, variable: Variable, conventions: Conventions = _UNDECLARED) -> Value:
    """The value that a text stands for, written as the codebook's documents write.

    Raises:
        CoercionError: where it stands for none, or could stand for several.
    """
    if variable.type != "text" and len(raw.strip()) > LONGEST:
        raise CoercionError(f"is too long for a {variable.type}")
    text = clean_text(raw).strip()
    if not text:
        raise CoercionError("is empty")
    return _READERS[variable.type](text, variable, conventions)


def broken_rule(value: Value, variable: Variable) -> str | None:
    """Which of the variable's rules the value breaks, in words; None where it keeps them all.

    The rules are the codebook's own words, and read without its conventions: numbers as 1250000.5, dates as YYYY-MM-DD.
    """
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
        return len(str(value)) <= LONGEST and name_key(str(value)) == name_key(entry)
    try:
        return coerce(entry, variable) == value
    except CoercionError:
        return False


def _text(text: str, variable: Variable, conventions: Conventions) -> str:  # noqa: ARG001 # one form for all readers
    """The text, in the codebook's spelling where it is one of the allowed ones."""
    allowed = variable.validation.allowed or ()
    if not allowed or len(text) > LONGEST:
        return text
    return next((entry for entry in allowed if name_key(entry) == name_key(text)), text)


def _category(text: str, variable: Variable, conventions: Conventions) -> str:  # noqa: ARG001
    """By value, else by label, else by both: "value (label)" or "value - label"."""
    wanted = name_key(text)
    for keys in (_value_key, _label_key, _both_keys):
        named = [category.value for category in variable.categories if wanted in keys(category)]
        if len(named) == 1:
            return named[0]
        if named:
            raise CoercionError(f"is the label of several categories: {', '.join(named)}")
    known = ", ".join(category.value for category in variable.categories)
    raise CoercionError(f"is not one of the categories: {known}")


def _value_key(category: Category) -> tuple[str, ...]:
    return (name_key(category.value),)


def _label_key(category: Category) -> tuple[str, ...]:
    return (name_key(category.label),) if category.label else ()


def _both_keys(category: Category) -> tuple[str, ...]:
    value, label = category.value, category.label
    if not label:
        return ()
    return (name_key(f"{value} ({label})"), *(name_key(f"{value} {dash} {label}") for dash in "-–—"))


# Yes and no are not in the CLDR data that Babel has; the largest languages are here.

_TRUTH = {"true": True, "yes": True, "y": True, "1": True, "false": False, "no": False, "n": False, "0": False}
_YES_AND_NO = {
    "ar": "نعم / لا", "bg": "да / не", "cs": "ano / ne", "da": "ja / nej", "de": "ja wahr / nein falsch",
    "el": "ναι / όχι", "es": "sí si verdadero / no falso", "fa": "بله / خیر نه", "fi": "kyllä / ei",
    "fr": "oui vrai / non faux", "he": "כן / לא", "hi": "हाँ हां / नहीं", "hr": "da / ne", "hu": "igen / nem",
    "id": "ya / tidak", "it": "sì si vero / no falso", "ja": "はい / いいえ", "ko": "예 네 / 아니오 아니요",
    "nb": "ja / nei", "nl": "ja waar / nee onwaar", "nn": "ja / nei", "no": "ja / nei", "pl": "tak prawda / nie fałsz",
    "pt": "sim verdadeiro / não nao falso", "ro": "da / nu", "ru": "да / нет", "sk": "áno / nie", "sl": "da / ne",
    "sr": "да da / не ne", "sv": "ja sant / nej falskt", "tr": "evet doğru / hayır hayir yanlış", "uk": "так / ні",
    "vi": "có / không", "zh": "是 / 否",
}  # fmt: skip


def _boolean(text: str, variable: Variable, conventions: Conventions) -> bool:  # noqa: ARG001
    said = plain_text(text)
    truths = {_TRUTH[said]} if said in _TRUTH else set()
    for locale in conventions.locales:
        words = _YES_AND_NO.get(locale.language, "/").split("/")
        truths |= {truth for truth, known in zip((True, False), words, strict=True) if said in known.split()}
    if len(truths) != 1:
        raise CoercionError("is neither true nor false")
    return truths.pop()


def _number(text: str, variable: Variable, conventions: Conventions) -> float:
    return read_number(text, variable.unit, conventions)


def _date(text: str, variable: Variable, conventions: Conventions) -> str:  # noqa: ARG001
    return read_date(text, conventions)


_READERS: dict[str, Callable[[str, Variable, Conventions], Value]] = {
    "text": _text,
    "number": _number,
    "date": _date,
    "category": _category,
    "boolean": _boolean,
}
