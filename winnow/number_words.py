"""Words beside and instead of figures: magnitudes, currencies, percentages, and whole numbers written out."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from winnow.codebook import name_key
from winnow.conventions import plain_text

if TYPE_CHECKING:
    from babel import Locale

# Magnitudes: the words of English and those that no language uses otherwise, then those of the codebook's language.

_MAGNITUDES = {
    "k": 10**3, "thousand": 10**3, "thousands": 10**3, "lakh": 10**5, "lakhs": 10**5, "lac": 10**5, "lacs": 10**5,
    "m": 10**6, "mn": 10**6, "mln": 10**6, "mio": 10**6, "million": 10**6, "millions": 10**6,
    "crore": 10**7, "crores": 10**7, "cr": 10**7, "b": 10**9, "bn": 10**9, "billion": 10**9, "billions": 10**9,
    "mrd": 10**9, "mld": 10**9, "milliard": 10**9, "milliards": 10**9, "trillion": 10**12,
    "trillions": 10**12,
}  # fmt: skip


@lru_cache(maxsize=64)
def magnitudes(locales: "tuple[Locale, ...]") -> dict[str, set[int]]:
    """What each word for a magnitude can mean: a billion is a thousand times more in German than in English."""
    sizes = defaultdict(set, {word: {size} for word, size in _MAGNITUDES.items()})
    for locale in locales:
        for plurals in locale.compact_decimal_formats.values():
            for patterns in plurals.values():
                for size, pattern in patterns.items():
                    positive = pattern.pattern.partition(";")[0]
                    zeros = positive.count("0")
                    word = magnitude_key([positive.replace("0", "").replace("'", "")])
                    if zeros and word not in ("", "t"):  # T€ are thousands in German books, and trillions in English
                        sizes[word].add(int(size) // 10 ** (zeros - 1))
    return dict(sizes)


def magnitude_key(words: Sequence[str]) -> str:
    """The words as `magnitudes` has them."""
    return plain_text(" ".join(words)).rstrip(".")


# Not null and nul, which say that there is no value; not o; and not figures spelled one by one: zero zero seven.
_WORDS = re.compile(r"(?!null?$|zero[ -])[^\W\d_]{2,}(?:[ -][^\W\d_]+)*")


def whole_number(text: str, locales: "tuple[Locale, ...]") -> int | None:
    """The number that words of English or of the codebook's language name; None for others, and for "million" alone."""
    plain = plain_text(text)
    if not _WORDS.fullmatch(plain) or plain in magnitudes(locales):
        return None
    from text_to_num import text2num

    meant = set()
    for language in {"en", *(locale.language for locale in locales)}:
        try:
            meant.add(text2num(plain, language))
        except ValueError:  # no number in that language, or none of the library's languages
            continue
    return meant.pop() if len(meant) == 1 else None


# Currencies: codes, signs and English names.

PERCENT = {"%", "percent", "per cent", "pct"}
_CODES = re.compile(
    "aed|ars|aud|bdt|bgn|brl|cad|chf|clp|cny|cop|czk|dkk|egp|eur|gbp|hkd|huf|idr|ils|inr|jpy|kes|krw|kwd|kzt|"
    "mad|mxn|myr|ngn|nok|nzd|pen|php|pkr|pln|qar|ron|rub|sar|sek|sgd|thb|try|twd|uah|usd|vnd|zar"
)
_CURRENCIES = {
    "$": {"usd", "cad", "aud", "nzd", "hkd", "sgd", "twd", "mxn", "ars", "clp", "cop"},
    "us$": {"usd"}, "c$": {"cad"}, "a$": {"aud"}, "nz$": {"nzd"}, "hk$": {"hkd"}, "s$": {"sgd"}, "r$": {"brl"},
    "us dollar": {"usd"}, "dollar": {"usd", "cad", "aud", "nzd", "hkd", "sgd", "twd"},
    "€": {"eur"}, "euro": {"eur"}, "£": {"gbp", "egp"}, "pound": {"gbp", "egp"}, "¥": {"jpy", "cny"}, "yen": {"jpy"},
    "₹": {"inr"}, "rs": {"inr", "pkr"}, "rs.": {"inr", "pkr"}, "rupee": {"inr", "pkr"},
    "円": {"jpy"}, "元": {"cny", "twd"}, "원": {"krw"},
    "₽": {"rub"}, "₩": {"krw"}, "₺": {"try"}, "₴": {"uah"}, "₪": {"ils"}, "฿": {"thb"},
}  # fmt: skip


def currencies(name: str) -> set[str]:
    """The codes of the currencies that a code, sign or name can mean; none for other words."""
    key = name_key(name)
    if _CODES.fullmatch(key) or (len(key) == 1 and unicodedata.category(key) == "Sc" and key not in _CURRENCIES):
        return {key}
    return _CURRENCIES.get(key) or _CURRENCIES.get(key.removesuffix("s")) or set()
