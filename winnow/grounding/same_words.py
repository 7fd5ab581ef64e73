"""Whether two passages that look alike say the same, so that one may stand as evidence for the other.

Few letters make another meaning: "3,000,000" and "2,000,000", "May" and "June", "shall" and "shall not", "lessor" and
"lessee". Words may be misspelt, parted otherwise, and a few may be left out or added. Never may one word stand for
another, and never may a number, what stands beside it, or a negation differ.
"""

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby

from rapidfuzz.distance import OSA, Levenshtein

from winnow.grounding.evening import fold
from winnow.grounding.scripts import IS_LETTERWISE, IS_UNSPACED, is_mark

_RUN = 3  # words in a row that may be left out or added
_SHORT = 3  # a word of so many letters may soon be another one: only a frequent word is known under a slip

FREQUENT = 3
"""How often such a word stands elsewhere in the document."""

_NEGATING_WORDS = """
no not non nor never none neither nothing nobody cannot without unless except t
nicht kein keine keinen keinem keiner keines nie niemals weder noch ohne nichts außer
ne n pas jamais aucun aucune ni sans rien sauf
nunca jamás ningún ninguno ninguna sin nada tampoco salvo
né mai nessun nessuno nessuna senza niente não nenhum nenhuma sem nem
niet geen nooit zonder niets inte ej aldrig ingen inget inga utan ikke ikkje aldri aldrig intet uden uten ei
nie ani bez nigdy żaden żadna není nikdy žádný не ни нет никогда без кроме ні немає
değil yok hiç δεν μην όχι χωρίς لا لم لن ليس ليست غير بدون بلا دون إلا لیس نه نیست نہیں
לא אין בלי ללא नहीं न मत बिना không chưa chẳng đừng tidak bukan tanpa jangan nem ne
"""
# Where words are not parted, a negation is one by its letters alone.
_NEGATING_LETTERS = "不 没 沒 無 无 未 非 勿 毋 否 禁 な ず ぬ ません 않 안 못 없 아니 ไม่ มิ ห้าม ບໍ່ មិន မဟုတ်"

# Numbers that are written out; compounds are found by swapped words.
_NUMBER_WORDS = """
one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion trillion half quarter
first second third once twice double triple
zwei drei vier fünf sechs sieben acht neun zehn elf zwölf hundert tausend million millionen milliarde milliarden halb
deux trois quatre cinq sept huit neuf dix onze douze quinze vingt trente quarante cinquante soixante cent cents mille
dos tres cuatro cinco seis siete ocho nueve diez veinte treinta cuarenta cincuenta sesenta cien ciento mil millón
due tre quattro cinque sei sette otto nove dieci venti trenta cento milione dois três quatro sete oito dez vinte trinta
twee drie vijf zes zeven negen tien twintig dertig honderd duizend miljoen miljard
два три четыре пять шесть семь восемь девять десять двадцать тридцать сто тысяча тысяч миллион миллионов миллиард
"""

_NEGATIONS = frozenset(fold(word) for word in _NEGATING_WORDS.split())
_MEANING = _NEGATIONS | frozenset(fold(word) for word in _NUMBER_WORDS.split())
_NEGATING = tuple(fold(word) for word in _NEGATING_LETTERS.split())


def tokens(text: str) -> tuple[str, ...]:
    """The words, numbers and signs of an evened-out text; in scripts without spaces, each character is a word."""
    listed: list[str] = []
    for kind, group in groupby(text, _kind):
        if kind == "unspaced":
            listed.extend(group)
        elif kind:
            listed.append("".join(group))
    return tuple(listed)


@lru_cache(maxsize=8192)
def _kind(character: str) -> str:
    if character.isnumeric():
        return "number"
    if unicodedata.category(character) == "Sc" or character in "%‰":
        return "sign"
    if IS_UNSPACED.match(character):
        return "unspaced"
    return "word" if character.isalpha() or is_mark(character) else ""


def say_the_same(quote: str, passage: str, times: Callable[[str], int]) -> bool:
    """Whether the passage says what the quote says. Both are evened out.

    Args:
        quote: What is looked for.
        passage: What stands in the document.
        times: How often a word stands in the document, counted to `FREQUENT` + 1 at least.
    """
    if _figures(quote) != _figures(passage) or any(quote.count(word) != passage.count(word) for word in _NEGATING):
        return False
    left, right = tokens(quote), tokens(passage)
    return all(_agree(left, right, group, times) for group in _differences(left, right))


def is_mere_negation(gap: str) -> bool:
    """Whether a few words that a quote leaves out turn its sense: "shall [not] be liable"."""
    words = tokens(gap)
    negated = any(word in _NEGATIONS for word in words) or any(letters in gap for letters in _NEGATING)
    return negated and len(words) <= _RUN


def _figures(text: str) -> list[str]:
    """Its numbers, run of digits by run of digits, with their minus signs."""
    shown = "".join(
        character if character.isnumeric() or _is_minus(text, at) else " " for at, character in enumerate(text)
    )
    return shown.split()


def _is_minus(text: str, at: int) -> bool:
    return text[at] == "-" and text[at + 1 : at + 2].isnumeric() and (at == 0 or not (text[at - 1].isalnum()))


_Group = tuple[int, int, int, int]


def _differences(left: Sequence[str], right: Sequence[str]) -> Iterator[_Group]:
    """Where the words differ: the runs between those that are the same."""
    at = to = 0
    for block in Levenshtein.opcodes(left, right):
        if block.tag == "equal":
            if at < block.src_start or to < block.dest_start:
                yield at, block.src_start, to, block.dest_start
            at, to = block.src_end, block.dest_end
    if at < len(left) or to < len(right):
        yield at, len(left), to, len(right)


def _agree(left: Sequence[str], right: Sequence[str], group: _Group, times: Callable[[str], int]) -> bool:
    start, end, from_, until = group
    asked, found = left[start:end], right[from_:until]
    if "".join(asked) == "".join(found):
        return True
    beside = (*(left[start - 1 : start] if start else ()), *left[end : end + 1])
    if any(word in _MEANING for word in (*asked, *found)) or not all(map(_is_word, (*asked, *found, *beside))):
        return False
    if not asked:
        return len(found) <= _RUN
    if not found:  # at its ends, a word that is missing may have been swapped
        return len(asked) <= _RUN and start > 0 and end < len(left)
    if len(asked) != len(found):
        asked, found = ("".join(asked),), ("".join(found),)
    return all(_is_slip(one, other, times) for one, other in zip(asked, found, strict=True))


def _is_word(token: str) -> bool:
    return _kind(token[0]) in ("word", "unspaced")


def _is_slip(asked: str, found: str, times: Callable[[str], int]) -> bool:
    """Whether it is the same word, misspelt by the model or misread in a scan."""
    if asked == found:
        return True
    if len(asked) == len(found) == 1:
        return bool(IS_LETTERWISE.match(asked) and IS_LETTERWISE.match(found))
    if OSA.distance(_as_scanned(asked), _as_scanned(found)) > 1:
        return False
    if asked.endswith(found) or found.endswith(asked):  # ever, never; hereof, thereof
        return False
    rarer, other = sorted((times(asked), times(found) - 1))
    if rarer:  # employer, employee: words that both stand elsewhere in the document are two words
        return False
    shorter = min(len(asked), len(found))
    return shorter > _SHORT or (shorter > 1 and other >= FREQUENT)


def _as_scanned(word: str) -> str:
    return word.replace("rn", "m").replace("cl", "d").replace("vv", "w")
