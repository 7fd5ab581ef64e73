"""Words made comparable: light stems of English, German and French, without the words that say nothing."""

import re
from functools import lru_cache

WORD = re.compile(r"[^\W_]+")


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


_ENGLISH = _listed(
    """a about above after all also am among an and any are as at be because been before being both but by can could
    did do does each either every for from had has have he her him his how i if in into is it its itself may me might
    more most must my of on once one only or other others our out over own same shall she should so some such than
    that the their them then there these they this those through to too under until up upon us very was we were what
    when where whether which while who whom whose why will with would you your"""
)
_GERMAN = _listed(
    """aber als am an auch auf aus bei bis das dass dem den der des die durch ein eine einem einen einer eines er es
    für gegen hat hatte ihr ihre im in ins ist kann mit nach noch nur oder sein seine sich sie sind so über um und uns
    unter vom von vor war was werden wie wir wird wurde zu zum zur zwischen"""
)
_FRENCH = _listed(
    """à au aux avec ce ces cette dans de des du elle en est et il la le les leur leurs ne nous ou où par pas pour que
    qui sa se ses son sont sur un une vous"""
)
# Words of instructions to a reader, not of what is read for.
_ASKING = _listed(
    """anything copied copy document documents empty exact exactly example fill form give given leave mention
    mentioned names otherwise say says stand stands stated states take taken text true false value values
    variable word written yyyy mm dd iso yes"""
)
NEGATIONS = _listed(
    """not no non never neither nor none without cannot waive waives waived nicht kein keine keinem keinen keiner
    keines ohne nie aucun aucune sans jamais"""
)

_ENDINGS = (
    "izations", "ization", "ations", "ation", "itions", "ition", "ments", "ment", "ances", "ance", "ities", "ity",
    "ively", "ions", "ion", "ates", "ated", "ating", "ate", "ings", "ing", "ies", "ied", "edly", "ed", "ly", "es",
    "en", "er", "e", "s", "y",
)  # fmt: skip


def is_stop(word: str) -> bool:
    """Whether a word says nothing in a document or a question."""
    folded = word.casefold()
    return len(folded) < 2 or folded in _ENGLISH or folded in _GERMAN or folded in _FRENCH


def is_asking(word: str) -> bool:
    """Whether a word belongs to the way instructions are given."""
    return word.casefold() in _ASKING


def _without_ending(word: str) -> str:
    if word.endswith(("bility", "bilities")):
        word = word[: word.rindex("bilit")] + "ble"
    if word.endswith(("ence", "ences", "enced")):
        word = word.replace("ence", "ense")  # licence, license
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= (3 if len(ending) < 3 else 4):
            word = word[: -len(ending)]
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiouls":
        word = word[:-1]  # capped, planned
    return word


# What different people call the parts of any record: one word after this.
_SAME = {
    _without_ending(other): _without_ending(word)
    for word, others in {
        "start": "begin beginn beginnt anfang commence commencement début",
        "end": "ende endet finish expire expiration expiry fin conclude",
        "amount": "sum summe betrag montant",
        "number": "nr nummer numéro reference",
        "date": "datum",
        "title": "titel titre",
        "address": "adresse anschrift",
    }.items()
    for other in others.split()
}


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """What forms of one word have in common; empty for a word that says nothing."""
    if is_stop(word):
        return ""
    root = _without_ending(word.casefold())
    return _SAME.get(root, root)


def stems(text: str) -> list[str]:
    """The stems of a text in their order, without empty ones."""
    return [root for word in WORD.findall(text) if (root := stem(word))]


def language(words: list[str]) -> str:
    """`en`, `de` or `fr`, by the small words used most; English where there are too few."""
    counts = {
        "en": sum(word in _ENGLISH for word in words),
        "de": sum(word in _GERMAN for word in words),
        "fr": sum(word in _FRENCH for word in words),
    }
    return max(counts, key=lambda code: (counts[code], code == "en"))
