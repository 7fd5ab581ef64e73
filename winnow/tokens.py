"""How many tokens a text is, by an estimate that needs no vocabulary: for the size of chunks, for limits and prices.

Tokenisers cut a text in much the same way, at words, digits and signs, and differ in how long a piece they know. This
counts the pieces of a middling one: for English prose within 5 % below and 25 % above those in use today; for tables of
numbers up to 30 % below those that take each digit alone, and for program code up to 40 % above. In other scripts it
is near today's large vocabularies; small and older ones take two or three times as many.
"""

import re

_SLICE = 1_000_000  # characters at a time, so that a very long text does not become a list of all its pieces

_PIECE = re.compile(
    r"""
    (?<=[a-zß-ÿ])[a-zß-ÿ]{1,3}      # what is left of a long word, and after a letter with an accent
    | [A-ZÀ-Þ]?[a-z]{1,7}           # a word; the space before it is a part of it
    | [A-ZÀ-Þ]{1,3}
    | [0-9]{1,2}
    | \n+ | \t | [ ]{2,16}
    | ([!-/:-@\[-`{-~])\1{0,7}      # a sign, or a row of the same
    | [\u0100-\u06ff]{1,3}          # Greek, Cyrillic, Arabic
    | [\u0700-\u1fff]{1,2}          # Indian scripts, Thai
    | [\x00-\x08\x0b-\x1f\x7f-\xff] | [^\x00-\u1fff]  # other signs; Chinese, Japanese, Korean
    """,
    re.VERBOSE,
)


def count_tokens(text: str) -> int:
    """About how many tokens a model takes for a text: rather too many than too few, and at most one per character."""
    return sum(len(_PIECE.findall(text, at, at + _SLICE)) for at in range(0, len(text), _SLICE))
