"""`python -m benchmarks.grounding FOLDER`: how well and how fast known quotes are found in parsed PDFs.

The folder holds `pdf/NAME.pdf` and `gold.csv` with the columns `document` (NAME) and `clauses` (a JSON list of
quotes), as the sample of CUAD does. Every quote is looked up as it stands and after noise. A quote counts as placed
clean where the placed text has exactly its letters and digits, and as placed on the wrong words where fewer than
`WRONG` of them are alike. Then the same with slips of the pen, which shows how far approximate evidence reaches, and
with falsified quotes, of which none may be placed: a digit, a month, a negation or a word is another one.
For absent quotes, the other documents' quotes are looked up in the longest document.
"""

import argparse
import csv
import json
import random
import re
import time
from calendar import month_name
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from rapidfuzz.distance import Levenshtein

from tasks.parsers import parse_document
from winnow.documents import ParsedDocument
from winnow.extractions import Evidence, Mark
from winnow.grounding import Grounder

WRONG = 0.85
SEED, NOISE = 20_261_123, 0.1
MONTHS = [month for month in month_name if month]
MARKS: tuple[Mark, ...] = ("exact", "normalised", "approximate", "absent")

_GAP = re.compile(r"<omitted>")


@dataclass(frozen=True)
class Looked:
    """A quote, where it was found, and what stands there."""

    document: str
    quote: str
    evidence: Evidence
    text: str
    milliseconds: float

    @property
    def likeness(self) -> float:
        """Of the letters and digits of the quote and of the placed text, between 0 and 1."""
        return Levenshtein.normalized_similarity(letters(_GAP.sub(" ", self.quote)), letters(self.text))


def main() -> None:
    """Look up every quote, as it stands and noisy, and time the longest document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="with gold.csv and pdf/")
    folder = parser.parse_args().folder
    quotes = list(read_quotes(folder / "gold.csv"))
    documents = {name: parse(folder / "pdf" / f"{name}.pdf") for name in dict.fromkeys(name for name, _ in quotes)}
    grounders = {name: Grounder(document.text, document.blocks) for name, document in documents.items()}

    def look(name: str, quote: str) -> Looked:
        started = time.perf_counter()
        evidence = grounders[name].locate(quote)
        spent = time.perf_counter() - started
        text = " ".join(documents[name].text[place.start : place.end] for place in evidence.places)
        return Looked(name, quote, evidence, text, spent * 1000)

    print(f"{len(quotes)} quotes in {len(documents)} documents")
    noise = random.Random(SEED)
    report("as they stand", [look(*quote) for quote in quotes])
    report("with noise", [look(name, noisy(quote, noise)) for name, quote in quotes])
    report("with slips", [look(name, misspelt(quote, noise)) for name, quote in quotes], listed=False)
    falsified = [(name, false) for name, quote in quotes for false in falsify(quote, documents[name].text, noise)]
    placed = [one for one in (look(*quote) for quote in falsified) if one.evidence.places]
    print(f"\nfalsified quotes: {len(placed)} of {len(falsified)} placed")
    for one in placed:
        _show(one)
    time_the_longest(documents, quotes, look)


def read_quotes(path: Path) -> Iterator[tuple[str, str]]:
    """The names of the documents with each of their quotes."""
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for quote in json.loads(row["clauses"] or "[]"):
                yield row["document"], quote


def parse(path: Path) -> ParsedDocument:
    """A PDF's text and blocks."""
    return parse_document(path.read_bytes(), path.name)


def letters(text: str) -> str:
    """What is left of a text without case, white space and punctuation."""
    return re.sub(r"[\W_]+", "", text).casefold()


def noisy(quote: str, noise: random.Random) -> str:
    """The quote with a tenth of its characters written otherwise: case, white space, quotation marks, hyphenation."""
    pieces = (
        "".join(_otherwise(piece[at], piece[at + 1 : at + 2], noise) for at in range(len(piece)))
        for piece in _GAP.split(quote)
    )
    return " ... ".join(pieces)


def _otherwise(character: str, following: str, noise: random.Random) -> str:
    if noise.random() >= NOISE:
        return character
    if character.isspace():
        return noise.choice(["  ", "\n", "\u00a0", "\t", " \r\n"])
    if character in "\"'“”‘’":
        return noise.choice(["'", '"', "“", "”", "’", "«"])
    if character == "-":
        return noise.choice(["‐", "–", "-\n", "\u00ad"])
    if not character.isalpha():
        return character
    broken = [f"{character}\u00ad", f"{character}-\n", f"{character}\u200b"] if following.isalpha() else []
    return noise.choice([character.swapcase(), *broken])


def misspelt(quote: str, noise: random.Random) -> str:
    """The quote with one letter wrong or left out in each hundred, one at least."""
    listed = list(_GAP.sub(" ... ", quote))
    places = [at for at, character in enumerate(listed) if character.isalpha()]
    for at in noise.sample(places, min(len(places), 1 + len(listed) // 100)):
        listed[at] = noise.choice(["", noise.choice("aeioulnrt")])
    return "".join(listed)


def falsify(quote: str, text: str, noise: random.Random) -> Iterator[str]:
    """The quote with another digit, another month, a negation more or less, another word: if it is not in the text."""
    words = re.findall(r"[a-z]{5,}", text)
    false = {
        re.sub(r"\d", lambda match: str((int(match.group()) + 1) % 10), quote, count=1),
        re.sub("|".join(MONTHS), noise.choice(MONTHS), quote, count=1),
        re.sub(r"\b(not|no|nor|without) ", "", quote, count=1),
        re.sub(r"\b(shall|will|may|is|are) (?!not)", r"\1 not ", quote, count=1),
        re.sub(r"\b[a-z]{5,}\b", noise.choice(words), quote, count=1),
    }
    for one in sorted(false - {quote}):
        if letters(one) not in letters(text):
            yield one


def report(title: str, looked: list[Looked], *, listed: bool = True) -> None:
    """Print the shares by mark, and every quote that is not placed clean, or at least those on the wrong words."""
    marks = Counter(one.evidence.mark for one in looked)
    placed = [one for one in looked if one.evidence.places]
    clean = [one for one in placed if one.likeness == 1]
    wrong = [one for one in placed if one.likeness < WRONG]
    print(f"\n{title}: " + ", ".join(f"{mark} {marks[mark] / len(looked):.1%}" for mark in MARKS))
    print(
        f"  placed {len(placed) / len(looked):.1%}, clean {len(clean) / len(looked):.1%}, on wrong words {len(wrong)}"
    )
    for one in looked if listed else wrong:
        if one not in clean:
            _show(one)


def _show(one: Looked) -> None:
    likeness = f"{one.likeness:.3f}" if one.evidence.places else ""
    print(f"  {one.evidence.mark} {likeness} {one.document}")
    print(f"    quote:  {' '.join(one.quote.split())[:300]}")
    if one.evidence.places:
        print(f"    placed: {' '.join(one.text.split())[:300]}")


def time_the_longest(
    documents: dict[str, ParsedDocument], quotes: list[tuple[str, str]], look: Callable[[str, str], Looked]
) -> None:
    """Print the milliseconds per quote on the longest document: its own quotes, and those of all the others."""
    longest = max(documents, key=lambda name: len(documents[name].text))
    own = [look(longest, quote) for name, quote in quotes if name == longest]
    others = [look(longest, quote) for name, quote in quotes if name != longest]
    absent = [one for one in others if one.evidence.mark == "absent"]
    print(f"\nmilliseconds per quote in the longest document ({len(documents[longest].text):,} characters)")
    for title, looked in (("its own quotes", own), ("absent quotes", absent)):
        spent = [one.milliseconds for one in looked]
        late = quantiles(spent, n=20)[-1]
        print(f"  {title} ({len(spent)}): median {median(spent):.2f}, p95 {late:.2f}, worst {max(spent):.2f}")


if __name__ == "__main__":
    main()
