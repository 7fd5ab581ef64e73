"""Where words begin and end in the world's scripts."""

import re
import unicodedata

# Scripts that do not part words with spaces, or not reliably: Thai to Khmer, and the East Asian ones.
_LETTERWISE = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
UNSPACED = f"{_LETTERWISE}\u1100-\u11ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
IS_UNSPACED = re.compile(f"[{UNSPACED}]")
IS_LETTERWISE = re.compile(f"[{_LETTERWISE}]")
"""Unspaced scripts in which a character is a letter, not a syllable or a word."""

_IN_NUMBERS = frozenset(".,'’٫٬")


def is_mark(character: str) -> bool:
    """Whether it belongs to the letter before it."""
    return unicodedata.category(character).startswith("M")


def end_rank(text: str, at: int) -> int:
    """How well a quote may begin or end here: 2 between words, 1 inside a word, 0 inside a number."""
    if not 0 < at < len(text):
        return 2
    if _is_inside_number(text, at):
        return 0
    return 1 if _is_inside_word(text[at - 1], text[at]) else 2


def is_whole(text: str, start: int, end: int) -> bool:
    """Whether `text[start:end]` begins and ends with whole words and numbers."""
    return end_rank(text, start) == end_rank(text, end) == 2


def _is_inside_number(text: str, at: int) -> bool:
    """Also between the digits of 2,000,000 or of Section 4.2.1: "2,000" and "Section 4.2" are something else."""
    left, right = text[at - 1], text[at]
    if right in _IN_NUMBERS:
        right = text[at + 1 : at + 2]
    elif left in _IN_NUMBERS:
        left = text[max(0, at - 2) : at - 1]
    return left.isnumeric() and right.isnumeric()


def _is_inside_word(left: str, right: str) -> bool:
    joined = left.isalnum() or is_mark(left)
    if is_mark(right):
        return joined
    return joined and right.isalnum() and not IS_UNSPACED.search(left + right)
