"""Documents with known entities: a monitor of protests with 5 to 3,200 of them, over many pages.

Each protest is one place on one date, and no other of its document is. Many look alike (same place, other date), and
sentences between them name places and dates of what is no protest.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from math import ceil, sqrt
from textwrap import wrap
from typing import Any, Literal

Kind = Literal["table", "list", "prose", "mixed"]

DATE = r"\d{4}-\d\d-\d\d"
ENTITY_PATTERN = (
    r"\b(?:\d+(?:\.|\s+\|)|A\s+protest\s+in)\s+"  # from its beginning: half a place is another place
    r"(?P<place>(?:(?:Upper|Lower|Port)\s+)?[A-Z][a-z]+)(?:\s+\|\s+|,\s+|\s+on\s+)"
    rf"(?P<date>{DATE})(?:\s+\|\s+|:\s+|\s+drew\s+)"
    r"(?P<participants>\d+)(?:\s+\|\s+|\s+people,\s+called\s+by\s+the\s+)"
    r"(?P<organiser>(?:[A-Z][a-z]+\s+){1,2}(?:Union|League|Alliance|Committee))\b"
)
ANNOUNCED_PATTERN = r"This\s+report\s+documents\s+(?P<number>\d+)\s+protests"

CODEBOOK: dict[str, Any] = {
    "project": "protests",
    "domain": "protest events",
    "language": "English",
    "unit_of_observation": {
        "entity": "protest",
        "definition": "One public gathering at one place on one day, with a demand.",
        "identified_by": ["place", "date"],
    },
    "variables": [
        {"name": "place", "type": "text", "instructions": "The town where the protest took place."},
        {"name": "date", "type": "date", "instructions": "The day of the protest."},
        {"name": "participants", "type": "number", "instructions": "How many people took part."},
        {"name": "organiser", "type": "text", "instructions": "Who called the protest."},
    ],
}

WIDTH, LINES = 86, 46  # of a page, in characters and lines
FIRST_DAY = date(2020, 1, 1)
CREATED = datetime(2025, 1, 31, 12, tzinfo=UTC)
HEADS = ("Alt", "Birken", "Dorn", "Eschen", "Falken", "Gruen", "Hasel", "Kirch", "Linden", "Muehl", "Rosen", "Wald")
TAILS = ("au", "bach", "berg", "burg", "dorf", "feld", "furt", "hausen", "heim", "stadt")
PLACES = [f"{side}{head}{tail}" for side in ("", "Upper ", "Lower ", "Port ") for tail in TAILS for head in HEADS]
ORGANISERS = [
    f"{who} {what}"
    for who in ("Teachers", "Harbour Workers", "Students", "Tenants", "Bus Drivers", "Farmers", "Nurses")
    for what in ("Union", "League", "Alliance", "Committee")
]
FILLERS = (
    "The council of {place} met on {date} to speak about permits, and put off its decision.",
    "A march announced in {place} for {date} was called off because of the weather.",
    "Police in {place} counted {count} vehicles on {date}, most of them on the ring road.",
    "Our correspondents read the local papers of {place} every week; those of {date} were lost.",
    "Numbers are those of the organisers. Where police and organisers differ, both were asked again.",
    "The {organiser} held its yearly meeting in {place}, {date}, behind closed doors.",
)
TABLE_HEAD = "No. | Place | Date | Participants | Organiser"


@dataclass(frozen=True)
class EntityDocument:
    """A document whose entities are known, in the order in which they stand in it."""

    text: str
    pdf_bytes: bytes | None
    entities: list[dict[str, str]]


def entity_document(number_of_entities: int, *, seed: int, kind: Kind = "mixed", pages: bool = True) -> EntityDocument:
    """The same document for the same arguments.

    Args:
        number_of_entities: rows in the document, none of which goes over a page's end.
        seed: another seed is another document.
        kind: how the entities are written; mixed changes from section to section.
        pages: with running headers and page numbers, and as a PDF too.
    """
    drawn = random.Random(f"{seed} {kind} {number_of_entities}")
    entities = draw_entities(drawn, number_of_entities)
    groups = list(lines_together(drawn, entities, kind))
    if not pages:
        return EntityDocument("\n".join(line for group in groups for line in group), None, entities)
    paged = list(in_pages(groups))
    text = "\n\n".join("\n".join(page) for page in paged)
    return EntityDocument(text, render(paged), entities)


def draw_entities(drawn: random.Random, number: int) -> list[dict[str, str]]:
    """Places and dates from a grid hardly larger than needed, so that many share one of both."""
    side = ceil(sqrt(number * 1.5)) + 1
    places = drawn.sample(PLACES, side)
    days = [(FIRST_DAY + timedelta(days=day)).isoformat() for day in drawn.sample(range(1500), side)]
    chosen = drawn.sample([(place, day) for place in places for day in days], number)
    counts = [str(drawn.randrange(10, 50_000)) for _ in chosen]
    return [
        {"place": place, "date": day, "participants": count, "organiser": drawn.choice(ORGANISERS)}
        for (place, day), count in zip(chosen, counts, strict=True)
    ]


def lines_together(drawn: random.Random, entities: list[dict[str, str]], kind: Kind) -> Iterator[list[str]]:
    """Groups of lines that stay on one page: a heading, a paragraph, an entity. An empty line is a gap."""
    yield ["Protest Monitor: Annual Report", ""]
    yield [*wrap(f"This report documents {len(entities)} protests. The last one listed 214 gatherings.", WIDTH), ""]
    rows, section = iter(enumerate(entities, 1)), 0
    while part := list(islice(rows, drawn.randrange(8, 30))):
        section += 1
        form = drawn.choice(("table", "list", "prose")) if kind == "mixed" else kind
        yield [f"Section {section}", ""]
        yield filler(drawn, entities)
        if form == "table":
            yield [TABLE_HEAD]
        for number, entity in part:
            yield row(number, entity, form)
            if form == "prose" and drawn.random() < 0.3:
                yield filler(drawn, entities)
        yield [""]
    yield filler(drawn, entities)


def row(number: int, entity: dict[str, str], form: str) -> list[str]:
    place, day, participants, organiser = entity.values()
    if form == "table":
        return [f"{number} | {place} | {day} | {participants} | {organiser}"]
    if form == "list":
        return [f"{number}. {place}, {day}: {participants} people, called by the {organiser}"]
    said = f"A protest in {place} on {day} drew {participants} people, called by the {organiser}, and ended in peace."
    return [*wrap(said, WIDTH, break_on_hyphens=False), ""]


def filler(drawn: random.Random, entities: list[dict[str, str]]) -> list[str]:
    """A paragraph that names places and dates of protests and is none."""
    sentences = []
    for form in drawn.sample(FILLERS, drawn.randrange(2, 5)):
        one, other = drawn.choice(entities), drawn.choice(entities)
        sentences.append(form.format_map({**one, "date": other["date"], "count": drawn.randrange(100, 999)}))
    return [*wrap(" ".join(sentences), WIDTH, break_on_hyphens=False), ""]


def in_pages(groups: list[list[str]]) -> Iterator[list[str]]:
    """Pages under a running header, with a number below."""
    number, page = 1, list[str]()
    for group in groups:
        if len(page) + len(group) > LINES:
            yield with_header(page, number)
            number, page = number + 1, []
        page += group
    yield with_header(page, number)


def with_header(page: list[str], number: int) -> list[str]:
    return ["Protest Monitor, edition of 2025-01-31", "", *page, *[""] * (LINES - len(page)), "", f"Page {number}"]


def render(pages: list[list[str]]) -> bytes:
    """The pages as a PDF, each line at its place."""
    from fpdf import FPDF

    pdf = FPDF(unit="pt", format="A4")
    pdf.set_creation_date(CREATED)
    pdf.set_font("Helvetica", size=10)
    for page in pages:
        pdf.add_page()
        for number, line in enumerate(page):
            if line:
                pdf.text(60, 60 + 14 * number, line)
    return bytes(pdf.output())
