"""The corpus with known entities: it holds what it says, also as a PDF that was read again."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from typing import get_args

import httpx
import pytest

from tasks.parsers import parse_document
from tests.entity_corpus import (
    ANNOUNCED_PATTERN,
    CODEBOOK,
    ENTITY_PATTERN,
    PLACES,
    EntityDocument,
    Kind,
    entity_document,
)
from tests.openai_post import Post, body_of
from tests.openai_server import OpenAIServer
from winnow.parse_codebook import parse_codebook

KINDS: tuple[Kind, ...] = get_args(Kind)


def found_in(text: str) -> list[dict[str, str]]:
    matches = re.finditer(ENTITY_PATTERN, text)
    return [{name: " ".join(value.split()) for name, value in match.groupdict().items()} for match in matches]


def parsed(document: EntityDocument) -> str:
    assert document.pdf_bytes
    return parse_document(document.pdf_bytes, "monitor.pdf").text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [5, 60, 700])
def test_the_pattern_finds_exactly_the_known_entities(number: int, kind: Kind) -> None:
    document = entity_document(number, seed=number, kind=kind)
    assert len(document.entities) == number
    for text in (document.text, parsed(document)):
        assert found_in(text) == document.entities
        assert re.findall(ANNOUNCED_PATTERN, text) == [str(number)]


def test_3200_entities_on_many_pages() -> None:
    document = entity_document(3200, seed=1)
    text = parsed(document)
    assert found_in(text) == document.entities
    assert text.count("Protest Monitor, edition of") > 100


@pytest.mark.parametrize("kind", KINDS)
def test_plain_text_has_no_pages(kind: Kind) -> None:
    document = entity_document(40, seed=2, kind=kind, pages=False)
    assert document.pdf_bytes is None
    assert "Page 1" not in document.text
    assert found_in(document.text) == document.entities
    assert found_in(parse_document(document.text.encode(), "monitor.txt").text) == document.entities


@pytest.mark.parametrize("number", [5, 50, 3200])
def test_entities_look_alike_and_none_is_another(number: int) -> None:
    entities = entity_document(number, seed=3, pages=False).entities
    assert len({(entity["place"], entity["date"]) for entity in entities}) == number
    for name in ("place", "date"):
        assert max(Counter(entity[name] for entity in entities).values()) > 1


def test_the_same_arguments_give_the_same_document() -> None:
    assert entity_document(30, seed=4) == entity_document(30, seed=4)
    assert entity_document(30, seed=4).text != entity_document(30, seed=5).text


def test_rows_stand_at_page_breaks_and_other_sentences_name_places_and_dates() -> None:
    document = entity_document(400, seed=6, kind="table")
    pages = [page.split("\n") for page in re.split(r"Protest Monitor, edition of [\d-]+\n\n", document.text)[1:]]
    bodies = [[line for line in page if line and not line.startswith("Page ")] for page in pages]
    ends = [(last[-1], first[0]) for last, first in pairwise(bodies)]
    assert any(found_in(last) and found_in(first) for last, first in ends)
    others = [line for body in bodies for line in body if not found_in(line)]
    assert sum(bool(re.search(r"\d{4}-\d\d-\d\d", line)) for line in others) > 20
    assert sum(any(place in line for place in PLACES) for line in others) > 20


def test_a_row_without_its_beginning_is_no_other_entity() -> None:
    row = "A protest in Lower Muehlau on 2021-11-10 drew 8127 people, called by the Bus Drivers\n\nCommittee, and"
    assert found_in(row)[0]["organiser"] == "Bus Drivers Committee"
    assert found_in(row.replace("A protest in Lower", "in")) == []
    assert found_in("3 | Lower Muehlau | 2021-11-10 | 8 | Nurses Union")[0]["place"] == "Lower Muehlau"
    assert found_in("Muehlau | 2021-11-10 | 8 | Nurses Union") == []
    assert found_in(row[:-30]) == []


def test_the_codebook_is_one() -> None:
    codebook = parse_codebook(CODEBOOK)
    assert [variable.name for variable in codebook.variables] == list(entity_document(5, seed=0).entities[0])


def test_the_server_lists_the_entities_of_a_document_as_read() -> None:
    document = entity_document(200, seed=7)
    listing = {"variable": "protest", "type": "entities", "identified_by": ["place", "date"]}
    number = {"variable": "number of protest", "type": "number"}
    with (
        OpenAIServer(entity_pattern=ENTITY_PATTERN, announced_pattern=ANNOUNCED_PATTERN) as server,
        httpx.Client(trust_env=False, timeout=10) as http,
    ):
        post = Post(server, http)
        answers = post.answers(body_of(parsed(document), [number, listing]))
        names = [f"{entity['place']} | {entity['date']}" for entity in document.entities]
        assert [value["value"] for value in answers["protest"]["values"]] == names
        assert [value["value"] for value in answers["number of protest"]["values"]] == ["200"]
        asked = [{"variable": "organiser", "type": "text"}, {"variable": "participants", "type": "number"}]
        for name, entity in list(zip(names, document.entities, strict=True))[::20]:
            about = {"entity": "protest", "name": name.upper()}
            answers = post.answers(body_of(parsed(document), asked, entity=about))
            found = {variable: answer["values"][0]["value"] for variable, answer in answers.items()}
            assert found == {variable: entity[variable] for variable in ("organiser", "participants")}
