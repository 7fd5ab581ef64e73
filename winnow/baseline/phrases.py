"""How text is read: a labelled value, a phrase shaped like the examples, or a name beside the variable's words."""

import re
from collections.abc import Iterator

from winnow.baseline.passages import Index, Passage
from winnow.baseline.question import Question
from winnow.baseline.reading import (
    Candidate,
    Reading,
    chosen,
    evidence_in,
    from_row,
    is_placeholder,
    left_open,
    listed_in,
    stated,
)
from winnow.baseline.scoring import Hit, Row, closeness, keywords, ranked, rows
from winnow.baseline.typed import read_date
from winnow.baseline.words import WORD, stem, stems

_LEAST = 0.45
_LEAST_SENTENCE = 1.0
LAST_RESORT = 0.3
"""The confidence in a whole sentence where no shorter value can be told."""
_FORM = re.compile(r"[^\W\d_]+|\d+|\s+|.", re.DOTALL)
_UPPER = "A-ZÄÖÜÀÁÂÇÈÉÊËÌÍÎÏÑÒÓÔÕØÅÆÙÚÛÝŠŽŁĆ"
_NAME = re.compile(
    rf"(?<![\w])[{_UPPER}][\w.'’&/-]*"
    rf"(?:(?:,?[ \xa0]\(?(?=(?:Inc|LLC|L\.L\.C|Ltd|LLP|L\.P|LP|Corp|Co|GmbH|AG|SA|S\.A|B\.V|A/S|plc|PLC)\b)|\s(?:&\s)?"
    rf"(?:(?:of|the|for|de|di|da|von|van|der|du|la|le|des|für|zu|y|et|e|del)\s){{0,2}})(?=[{_UPPER}0-9])[\w.'’&/-]+)*"
)
_QUOTED = re.compile(r"[\"“„«]([^\"“”„«»\n]{2,120})[\"”“»]")
_NAME_ENDS = re.compile(r"(?<=[^\W\d_]{4})\.\s|\s(?=(?:This|The|Each|Neither|Either|In|It|If)\s)")
_NUMBERING = re.compile(r"(?:[IVXLC]+|(?:Section|Article|Part|Exhibit|Schedule|Page|Annex|Chapter)?[\s.A-Z0-9]{0,6})")
_JOINING = frozenset({"of", "and", "for", "to", "the", "on", "in", "&", "und", "für", "et", "de"})
_AT_THE_TOP = frozenset(stems("head top beginning first heading cover"))
_TITLES = re.compile(
    r"(?:(?:Dr|Prof|Professor|Mr|Mrs|Ms|Miss|Herr|Frau|Mme|M|Dr\.-Ing|PD|Sir|Dame)\b\.?(?:\s?(?:med|rer|nat|phil)\.)*\s+)+"
)
_COUNT = "one|two|three|four|five|six|seven|eight|nine|ten|twelve|thirty|sixty|ninety"
_IS = re.compile(r"(?:\s|^)(?:is|are|was|were|be|ist|sind|lautet|est|sont|:|=)\s+(?:the\s+)?$")


def read_text(index: Index, question: Question) -> Reading:
    """The value in the document's words; not a whole paragraph where no shorter value can be told."""
    if question.categories:
        return _allowed(index, question)
    dated = stem("date") in question.core and not question.examples
    if dated and (reading := read_date(index, question)).values:
        return reading
    for row in rows(index, question):
        if (labelled := _from_row(index, question, row)) is not None:
            return labelled
    return reading if dated else _from_prose(index, question)


def _from_prose(index: Index, question: Question) -> Reading:
    shapes = _shapes(question)
    if shapes:
        return chosen(index, list(_shaped(index, question, shapes)), question.max_values, _LEAST)
    if _wants_title(question):
        return chosen(index, list(_titles(index, question)), 1, _LEAST)
    reading = chosen(index, list(_beside(index, question)), question.max_values, _LEAST)
    return reading if reading.values or question.examples else _short_sentence(index, question) or reading


def _short_sentence(index: Index, question: Question) -> Reading | None:
    """A sentence that says little more than what is asked: the last resort, and hardly to be trusted."""
    hit = next(iter(ranked(index, question, most=1)), None)
    if hit is None or hit.score < _LEAST_SENTENCE or question.max_values > 1:
        return None
    start, end = hit.passage.start, hit.passage.end
    said = index.quote(start, end)
    if hit.passage.label or not said.endswith(".") or not 4 <= len(said.split()) <= 20:
        return None
    return stated(index, [(_tidy(question, said).rstrip("."), (start, end))], LAST_RESORT)


def _allowed(index: Index, question: Question) -> Reading:
    """One of the values allowed, where a passage on the question has it word for word."""
    found = []
    for hit in ranked(index, question, most=8):
        said = index.quote(hit.passage.start, hit.passage.end)
        for category in question.categories:
            if match := re.search(rf"(?<!\w){re.escape(category.value)}(?!\w)", said, re.IGNORECASE):
                at = hit.passage.start + match.start()
                place = evidence_in(index, hit.passage, at, at + len(match.group()))
                found.append(Candidate(category.value, place, hit.score))
    return chosen(index, found, question.max_values, _LEAST)


def _from_row(index: Index, question: Question, row: Row) -> Reading | None:
    text = index.quote(row.start, row.end)
    if is_placeholder(text):
        return left_open(index, row)
    shapes = _shapes(question)
    shaped = [(match.group(), row.evidence) for shape in shapes for match in shape.finditer(text)]
    if not shaped and (len(text) > 200 or (shapes and row.match < 0.9)):
        return None
    found = [(value, place) for value, place in shaped or _items(index, question, row) if value][: question.max_values]
    return stated(index, found, from_row(row)) if found else None


def _items(index: Index, question: Question, row: Row) -> Iterator[tuple[str, tuple[int, int]]]:
    """The values of a row: one, or the parts of a list, or the list items that follow it."""
    text = index.quote(row.start, row.end)
    if question.max_values == 1:
        yield _tidy(question, text), row.evidence
        return
    for part in listed_in(text):
        yield _tidy(question, part), row.evidence
    if row.start == index.passages[row.number].start:
        for passage in _lines_below(index, row.number):
            yield _tidy(question, index.quote(passage.start, passage.end)), (passage.start, passage.end)


def _lines_below(index: Index, number: int) -> Iterator[Passage]:
    """The list that goes on under its first item: lines as short as that, until one that heads a longer text."""
    first = index.passages[number]
    following = index.passages[number + 1 :]
    for passage, after in zip(following, [*following, None][1:], strict=True):
        alike = abs((passage.last - passage.first) - (first.last - first.first)) <= 2
        heads = after is not None and after.last - after.first > 16 and passage.kind != "item"
        if passage.label or passage.kind != first.kind or not alike or heads:
            return
        yield passage


def _tidy(question: Question, text: str) -> str:
    """A value without the marks around it, and without a person's titles where they are not wanted."""
    bare = " ".join(text.split()).strip(' -*•●◦▪|;,"“”„«»')
    bare = re.sub(r"^\(?(?:[0-9]{1,2}|[a-z])[.)]\s+", "", bare)
    if stem("title") in question.avoided:
        bare = _TITLES.sub("", bare)
    return bare.rstrip(".,:;") if bare.count(".") == 1 and not re.search(r"\b\w{1,4}\.$", bare) else bare.rstrip(",:;")


def _shapes(question: Question) -> list[re.Pattern[str]]:
    return [shape for example in question.examples if (shape := _shape(example))]


def _shape(example: str) -> re.Pattern[str] | None:
    """What an example with digits looks like: "ABC-2020-7" stands for capitals, hyphen, digits, hyphen, digits."""
    if not any(character.isdigit() for character in example) or len(example) > 60:
        return None
    parts = []
    for run in _FORM.findall(example):
        if run.isdigit():
            parts.append(rf"(?:[0-9]+|{_COUNT})\)?" if " " in example else "[0-9]+")
        elif run.isalpha():
            parts.append(f"[{_UPPER}]+" if run.isupper() else "[a-zß-ÿ]+")
        else:
            parts.append(r"\s+" if run.isspace() else re.escape(run))
    return re.compile(rf"(?<![\w.-]){''.join(parts)}(?![\w-])")


def _shaped(index: Index, question: Question, shapes: list[re.Pattern[str]]) -> Iterator[Candidate]:
    """Phrases shaped like the examples: near the variable's words, and codes wherever they stand."""
    hits = {hit.number: hit for hit in ranked(index, question)}
    for number, passage in enumerate(index.passages):
        hit = hits.get(number)
        for shape in shapes:
            if hit is None and r"\s" in shape.pattern:
                continue
            for match in shape.finditer(index.text, passage.start, passage.end):
                place = evidence_in(index, passage, *match.span())
                value = _tidy(question, match.group().replace(")", ""))
                yield Candidate(value, place, _near(index, question, hit, match))


def _near(index: Index, question: Question, hit: Hit | None, match: re.Match[str]) -> float:
    if hit is None:
        return 0.55 - 0.1 * match.start() / max(1, len(index.text))
    code = 0.0 if any(character.isspace() for character in match.group()) else 0.2  # a code is not met by chance
    return code + min(1.2, hit.score) * closeness(*match.span(), keywords(index, hit.passage, question))


def _beside(index: Index, question: Question) -> Iterator[Candidate]:
    """Names and quoted phrases near the variable's words, rare ones before those used all over the document."""
    for hit in ranked(index, question, most=10):
        words = keywords(index, hit.passage, question)
        for start, end in names(index, hit.passage, question):
            value = _tidy(question, index.quote(start, end))
            weight = _rarity(index, question, value) * _likeness(question, value)
            near = 0.2 + 0.8 * closeness(start, end, words)
            if _IS.search(index.text[max(0, start - 14) : start]):
                near *= 1.3
            if value and weight:
                yield Candidate(value, evidence_in(index, hit.passage, start, end), min(1.3, hit.score) * near * weight)


def names(index: Index, passage: Passage, question: Question) -> Iterator[tuple[int, int]]:
    """Quoted phrases and runs of capitalised words, less the article they begin with."""
    for match in _QUOTED.finditer(index.text, passage.start, passage.end):
        yield match.span(1)
    for match in _NAME.finditer(index.text, passage.start, passage.end):
        start, end = match.span()
        if stop := _NAME_ENDS.search(index.text, start, end):
            end = stop.start()
        while (word := WORD.match(index.text, start, end)) and not stem(word.group()):
            start = word.end()
            while start < end and not index.text[start].isalnum():
                start += 1
        found = {stem(word) for word in WORD.findall(index.text[start:end])} - {""}
        if found and not found <= set(question.core) and index.text[end : end + 1] != ":":
            yield start, end


def _rarity(index: Index, question: Question, value: str) -> float:
    """Low for what stands all over the document, for words of the question, and for mere numbering."""
    found = [index.rarity(root) * (root not in question.core) for word in WORD.findall(value) if (root := stem(word))]
    if not found or _NUMBERING.fullmatch(value):
        return 0.0
    return 0.4 + 0.6 * sum(found) / len(found) / 5


def _likeness(question: Question, value: str) -> float:
    """Whether a name has about as many words as the examples have; single words are seldom names."""
    count = len(value.split())
    lengths = [len(example.split()) for example in question.examples]
    if lengths:
        return 1.0 if max(2, min(lengths) - 1) <= count <= max(lengths) + 2 else 0.5
    return 0.7 if count == 1 else 1.0 if count <= 8 else 0.5


def _wants_title(question: Question) -> bool:
    return stem("title") in question.weights and bool(_AT_THE_TOP & set(question.hints))


def _titles(index: Index, question: Question) -> Iterator[Candidate]:
    """What the document begins with in capitals, best where the text goes on to call itself by this name."""
    opening = index.text[:4000].casefold()
    pieces = [piece for passage in index.passages[:12] for piece in _columns(index, passage)]
    for order, (passage, start, end) in enumerate(pieces[:16]):
        value = _tidy(question, _capitals(index.quote(start, end)))
        words = [word for word in WORD.findall(value) if stem(word)]
        if 1 < len(words) <= 14:
            again = 0.2 * (opening.count(value.casefold()) > 1)
            numbers = 0.15 * any(character.isdigit() or character == "," for character in value)
            score = 0.6 + 0.1 * value.isupper() + again - numbers - 0.02 * order
            yield Candidate(value, evidence_in(index, passage, start, min(end, start + len(value))), score)


def _columns(index: Index, passage: Passage) -> Iterator[tuple[Passage, int, int]]:
    """A passage's parts between wide gaps, which may have been line breaks."""
    for match in re.finditer(r"\S+(?:\s{1,2}\S+)*", index.quote(passage.start, passage.end)):
        yield passage, passage.start + match.start(), passage.start + match.end()


def _capitals(text: str) -> str:
    """The capitalised words that a text begins with."""
    kept = 0
    for match in re.finditer(r"\S+", text):
        word = match.group().strip("\"“”'(),.:")
        if word.casefold() in _JOINING or not word[:1].isalpha():
            continue
        if not word[0].isupper() or not stem(word):
            break
        kept = match.end()
    return text[:kept]
