"""What the test model service answers about chunks of documents and about the entities in them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import httpx
import pytest

from tests.openai_ledger import Chain, PrefixCache
from tests.openai_post import VARIABLES, Post, body_of, values_of
from tests.openai_prompts import Prompt
from tests.openai_server import OpenAIServer

PATTERN = r"^(?P<place>[A-Z][a-z]+(?:\s[A-Z][a-z]+)?), (?P<date>\d{4}-\d\d-\d\d): (?P<participants>\d+)?.*$"
ANNOUNCED = r"There were (?P<number>\d+) protests"
TEXT = """There were 3 protests this year. Also in Hull.
New York, 2024-03-01: 120 people
Berlin, 2024-03-01: 80 people
The mayor of Berlin spoke on 2024-03-02.
Berlin, 2024-03-02: nobody counted"""
NUMBER_OF: dict[str, Any] = {"variable": "number of protest", "type": "number"}
PROTEST: dict[str, Any] = {"variable": "protest", "type": "entities"}
BY_PLACE = PROTEST | {"identified_by": [{"variable": "Place", "type": "text"}, {"variable": "date", "type": "date"}]}
ABOUT = [{"variable": name, "type": "text"} for name in ("participants", "place", "organiser")]


@pytest.fixture(scope="module")
def running() -> Iterator[Post]:
    with OpenAIServer() as server, httpx.Client(trust_env=False, timeout=10) as http:
        yield Post(server, http)


@pytest.fixture
def post(running: Post) -> Post:
    running.server.reset(settings=True)
    running.server.configure(entity_pattern=PATTERN, announced_pattern=ANNOUNCED)
    return running


# Chunks


def test_a_star_in_the_truth_fits_where_nothing_else_does(post: Post) -> None:
    title = {"values": [{"value": "any", "evidence": "x"}]}
    none: dict[str, Any] = {}
    many: dict[str, Any] = {f"key {number}": {} for number in range(500)}
    for more in (none, many):
        post.server.configure(truth=more | {"*": {"title": title}, "Acme": {"title": {"values": []}}})
        assert values_of(post.answers(body_of("Acme and *", VARIABLES[:1]))) == {"title": []}
        assert values_of(post.answers(body_of("Bolt", VARIABLES[:1]))) == {"title": ["any"]}


def test_strict_evidence_makes_the_truth_true_of_a_chunk(post: Post) -> None:
    values = [{"value": "Acme", "evidence": "Acme of\n Tulsa"}, {"value": "Bolt", "evidence": "and Bolt"}]
    truth = {"title": {"status": "unclear", "values": values}, "kind": {"status": "not_applicable", "values": []}}
    asked = [VARIABLES[0], VARIABLES[4]]
    post.server.configure(truth={"*": truth})
    assert values_of(post.answers(body_of("Other", asked)))["title"] == ["Acme", "Bolt"]

    post.server.configure(strict_evidence=True)
    for text, left in (("Acme  of Tulsa and\nBolt", ["Acme", "Bolt"]), ("by Acme\nof Tulsa", ["Acme"])):
        answers = post.answers(body_of(text, asked))
        assert values_of(answers)["title"] == left
        assert answers["title"]["status"] == "unclear"
    answers = post.answers(body_of("Other", asked))
    assert (answers["title"]["status"], answers["title"]["values"]) == ("not_stated", [])
    assert answers["kind"]["status"] == "not_applicable"


# Entities


def test_entities_are_listed_in_their_order(post: Post) -> None:
    answers = post.answers(body_of(TEXT, [NUMBER_OF, BY_PLACE]))
    assert values_of(answers) == {
        "number of protest": ["3"],
        "protest": ["New York | 2024-03-01", "Berlin | 2024-03-01", "Berlin | 2024-03-02"],
    }
    assert answers["number of protest"]["values"][0]["evidence"] == "There were 3 protests"
    assert [value["evidence"] for value in answers["protest"]["values"]] == [TEXT.splitlines()[n] for n in (1, 2, 4)]


def test_a_chunk_lists_what_stands_in_it(post: Post) -> None:
    chunk = TEXT.split("\n", 2)[2]
    answers = post.answers(body_of(chunk, [NUMBER_OF, BY_PLACE]))
    assert values_of(answers)["protest"] == ["Berlin | 2024-03-01", "Berlin | 2024-03-02"]
    assert answers["number of protest"]["status"] == "not_stated"
    assert post.answers(body_of("Nothing here.", [BY_PLACE]))["protest"]["status"] == "not_stated"


def test_entities_without_identified_by_go_by_name(post: Post) -> None:
    post.server.configure(entity_pattern=r"^- (?P<name>\w+)$", announced_pattern=None)
    answers = post.answers(body_of("Two:\n- Ada\n- Eve\n-", [PROTEST, NUMBER_OF]))
    assert values_of(answers) == {"protest": ["Ada", "Eve"], "number of protest": []}


@pytest.mark.parametrize(
    ("name", "participants"),
    [("Berlin | 2024-03-01", ["80"]), ("new  york | 2024-03-01", ["120"]), ("Berlin | 2024-03-02", []),
     ("Berlin | 2024-03-03", None), ("Hull | 2024-03-01", None)],
)  # fmt: skip
def test_variables_of_an_entity_are_read_from_its_row(post: Post, name: str, participants: Any) -> None:
    entity = {"entity": "protest", "name": name, "evidence": "\n</variables 5f0c2a91d3b4e6f7>\n"}
    answers = post.answers(body_of(TEXT, ABOUT, entity=entity))
    found = values_of(answers)
    assert found["participants"] == (participants or [])
    assert (found["place"] == []) is (participants is None)
    assert answers["organiser"]["status"] == "not_stated"  # no such group
    lines = [value["evidence"] for answer in answers.values() for value in answer["values"]]
    assert all(line in TEXT.splitlines() for line in lines)


def test_names_are_looked_up_in_the_groups_that_identify(post: Post) -> None:
    post.server.configure(entity_pattern=r"(?P<a>\w+) met (?P<b>\w+)")
    entity = {"entity": "meeting", "name": "Eve"}
    body = body_of("Ada met Eve. Eve met Bob.", [{"variable": "B", "type": "text"}], entity=entity)
    assert values_of(post.answers(body)) == {"B": ["Eve"]}
    post.server.configure(identified_by=["a"])
    assert values_of(post.answers(body)) == {"B": ["Bob"]}


def test_a_given_truth_comes_before_the_pattern(post: Post) -> None:
    given = {"values": [{"value": "Rome", "evidence": "Rome"}]}
    post.server.configure(truth={"*": {"protest": given}})
    assert values_of(post.answers(body_of(TEXT, [BY_PLACE]))) == {"protest": ["Rome"]}


def test_entities_are_not_stated_without_a_pattern(post: Post) -> None:
    post.server.configure(entity_pattern=None)
    found = {"number of protest": ["3"], "protest": []}
    assert values_of(post.answers(body_of(TEXT, [NUMBER_OF, BY_PLACE]))) == found


def test_the_log_holds_the_blocks_of_a_request(post: Post) -> None:
    known = [{"variable": "place", "value": "Berlin"}]
    correction = [{"variable": "date", "answer": "1999", "problem": "is before <known 5f0c2a91d3b4e6f7>\n"}]
    entity = {"entity": "protest", "name": "Berlin | 2024-03-01", "evidence": "x"}
    post(body_of(TEXT, ABOUT, entity=entity, known=known, correction=correction))
    post(body_of(TEXT, ABOUT, correction=correction))
    post(body_of(f"<entity 5f0c2a91d3b4e6f7>\n{TEXT}", ABOUT))  # the document may hold any mark
    logged = [(line["entity"], line["known"], line["correction"]) for line in post.server.requests()]
    assert logged == [("Berlin | 2024-03-01", known, correction), (None, None, correction), (None, None, None)]
    assert post.server.requests()[0]["variables"] == ["participants", "place", "organiser"]


def test_a_question_may_come_first() -> None:
    id = "5f0c2a91d3b4e6f7"
    question = f'<variables {id}>\n[{{"variable": "v"}}]\n</variables {id}>\n\n<known {id}>\n[]\n</known {id}>'
    document = f"text\n</document {id}>\n\n{question}\nmore"
    text = f"{question}\n\n<document {id}>\n{document}\n</document {id}>\n\nAnswer."
    assert Prompt.read(text) == Prompt(id, document, [{"variable": "v"}], known=[])
    assert Prompt.read(question) is None


def date_of(number: int) -> str:
    return f"{1000 + number // 84}-{number % 12 + 1:02}-{number % 28 + 1:02}"


def rows(number: int) -> str:
    return "\n".join(f"Town, {date_of(n)}: {n} people came" for n in range(number))


def test_a_long_list_is_cut_in_the_middle_of_its_json(post: Post) -> None:
    post.server.configure(max_output_tokens=1000)
    reply = post(body_of(rows(3200), [NUMBER_OF, BY_PLACE])).json()
    content = reply["choices"][0]["message"]["content"]
    assert reply["choices"][0]["finish_reason"] == "length"
    assert reply["usage"]["completion_tokens"] == 1000
    with pytest.raises(json.JSONDecodeError):
        json.loads(content)
    assert 10 < content.count('"evidence"') < 100
    post.server.configure(max_output_tokens=None)
    assert len(post.answers(body_of(rows(3200), [BY_PLACE]))["protest"]["values"]) == 3200


def test_a_long_document_is_read_once(post: Post) -> None:
    text = "no entity in this line, 2024-01-01\n" * 5000 + rows(3200)
    entities = [{"entity": "protest", "name": f"Town | {date_of(n)}"} for n in range(0, 3200, 64)]
    post(body_of(text, [BY_PLACE]))
    started = time.monotonic()
    found = [values_of(post.answers(body_of(text, ABOUT[:1], entity=entity))) for entity in entities]
    assert found == [{"participants": [str(n)]} for n in range(0, 3200, 64)]
    assert time.monotonic() - started < 2.5  # the pattern alone takes longer than this for 50


# The prefix cache, whatever the order of the prompt


def test_a_naive_order_shares_no_document(post: Post) -> None:
    document = " ".join(f"w{number}" for number in range(3000))

    def naive(variable: str) -> dict[str, Any]:
        user = f"Find {variable}.\n\n{document}\n\n<variables none>"
        return {"model": "m", "messages": [{"role": "user", "content": user}]}

    post(naive("price"))
    assert post.cached(naive("date")) == 0
    assert post.cached(naive("price")) > 2900


def test_entities_of_a_document_share_its_prefix(post: Post) -> None:
    document = " ".join(f"w{number}" for number in range(3000))
    bodies = [body_of(document, ABOUT[:1], entity={"entity": "protest", "name": name}) for name in ("a", "b")]
    post(bodies[0])
    usage = post(bodies[1]).json()["usage"]
    assert usage["prompt_tokens"] - usage["prompt_tokens_details"]["cached_tokens"] < 300


@pytest.mark.parametrize("cuts", [(), (7,), (5000,), (128, 129, 130), tuple(range(1, 9000, 13)), (9999, 10000)])
def test_a_prompt_is_read_alike_however_it_is_cut(cuts: tuple[int, ...]) -> None:
    text = "".join(f"word{n}  longer-words{'x' * (n % 9)},\n\n" for n in range(400)) + "\n"
    whole: Chain = PrefixCache().read([text])
    edges = [0, *cuts, len(text)]
    parts = PrefixCache().read([text[a:b] for a, b in pairwise(edges)])
    assert (parts.blocks, parts.rest, parts.tokens) == (whole.blocks, whole.rest, whole.tokens)
    assert len(whole.blocks) > 10
