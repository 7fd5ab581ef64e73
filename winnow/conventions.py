"""How the documents of a codebook write things: their language, the order in their dates, and what follows from these.

What is known of languages is Unicode's CLDR, through Babel. None of it is loaded for a codebook without a language.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from winnow.codebook import DateOrder, name_key

if TYPE_CHECKING:
    from babel import Locale

LONGEST = 1000  # characters; text of hostile marks takes seconds to normalise where it is much longer


class CoercionError(ValueError):
    """The text cannot be read as the variable's type. The message is for people, and may quote the text."""


@dataclass(frozen=True)
class Conventions:
    """What a codebook says of all its documents: the name or code of their language, and the order of their dates."""

    language: str | None = None
    date_order: DateOrder | None = None

    @property
    def locales(self) -> "tuple[Locale, ...]":
        """What CLDR knows of the language, or of each of several; empty where it knows none of that name."""
        return _locales(self.language) if self.language else ()

    @property
    def has_decimal_comma(self) -> bool:
        """Whether 1,250 may well mean one and a quarter."""
        if not self.locales:
            return False
        from babel.numbers import get_decimal_symbol

        return any(get_decimal_symbol(locale) == "," for locale in self.locales)


def plain_text(text: str) -> str:
    """The text as CLDR's words are compared with it: `name_key`, in ASCII digits, without marks of direction."""
    digits = "".join(str(unicodedata.decimal(character, character)) for character in text)
    return name_key(digits.translate(_SPELLED_ALIKE))


_SPELLED_ALIKE = str.maketrans(
    dict.fromkeys("\u061c\u200e\u200f\u2066\u2067\u2068\u2069", "") | {"،": ",", "‐": "-", "‑": "-"}
)

# Their speakers write the language's own name; of others the English name and the code are known too.
_OFTEN_NAMED = (
    "de fr es pt it nl pl ru uk cs sk sv da nb nn fi tr ar he fa ur hi bn ta te mr zh ja ko vi th id ms el ro hu bg hr "
    "sr sl lt lv et ca eu gl is ga sq ka hy az kk uz sw am"
)


@lru_cache(maxsize=256)
def _locales(language: str) -> "tuple[Locale, ...]":
    parts = re.split(r"[,;/&+]|\band\b", language[:LONGEST])
    return tuple(locale for locale in map(_locale, parts) if locale)


def _locale(language: str) -> "Locale | None":
    """By a code such as pt-BR, or by a name in English or in the language itself; "Spanish (Mexico)" is Spanish."""
    from babel import Locale

    key = name_key(re.sub(r"\(.*\)", "", language))
    if re.fullmatch(r"[a-z]{2,3}([-_][a-z0-9]{2,8})*", key):
        return _parsed(key)
    english = {name_key(name): code for code, name in Locale("en").languages.items()}
    if key in english:
        return _parsed(english[key])
    return next(
        (Locale(code) for code in _OFTEN_NAMED.split() if name_key(Locale(code).language_name or "") == key), None
    )


def _parsed(code: str) -> "Locale | None":
    from babel import Locale, UnknownLocaleError

    try:
        return Locale.parse(code.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        return None
