"""The list of a document's entities: complete and without doubles, however replies are cut."""

import re
from dataclasses import replace
from itertools import pairwise
from time import perf_counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.entity_corpus import ANNOUNCED_PATTERN, CODEBOOK, ENTITY_PATTERN, entity_document
from tests.winnow.in_memory import Json, answer, cut, interview, names_of, per_block, reply, source, told, whole
from winnow.chunks import Chunk, chunks
from winnow.codebook import Chunking, Codebook, EntityUnit
from winnow.entities import Lister, unit_variable
from winnow.exceptions import OutputError, ProviderDownError, RejectedCallError
from winnow.extractions import Unread
from winnow.parse_codebook import parse_codebook
from winnow.prompts import unit_prompts

PROTESTS = parse_codebook(CODEBOOK)
UNIT = PROTESTS.unit_of_observation
COUNT, LIST = "number of protest", "protest"


def truth(text: str) -> tuple[Json, Json]:
    """What a model answers that reads well."""
    found = [
        (f"{even(match['place'])} | {match['date']}", match[0].strip()) for match in re.finditer(ENTITY_PATTERN, text)
    ]
    announced = re.search(ANNOUNCED_PATTERN, text)
    return answer(COUNT, *[(announced["number"], announced[0])] if announced else []), answer(LIST, *found)


def even(text):
    return " ".join(text.split())


def true_model(characters=None):
    """Answers truly, in replies of so many characters."""

    def rule(request, text):
        given = [one for one in truth(text) if one["variable"] in names_of(request)]
        return reply(*given) if characters is None else cut(*given, characters=characters)

    return rule


def listed(about, rule, parts=None, codebook=PROTESTS, document_hash="ab12"):
    asking, asker = interview(about, rule)
    lister = Lister(interview=asking, unit=codebook.unit_of_observation, codebook=codebook, document_hash=document_hash)
    return lister.all_in(parts or whole(about)), asker


def names(listing):
    return [entity.name for entity in listing.entities]


def monitor(number, kind="mixed", seed=1):
    """A monitor of protests, its entities' names, and its chunks."""
    document = entity_document(number, seed=seed, kind=kind, pages=False)
    about = source(*re.split(r"\n{2,}", document.text))
    expected = [f"{entity['place']} | {entity['date']}" for entity in document.entities]
    return about, expected, chunks(about.text, about.blocks, Chunking())


SMALL = source(
    "This report documents 3 protests.",
    "1. Altau, 2024-03-01: 50 people, called by the Nurses Union",
    "2. Altau, 2024-03-02: 60 people, called by the Nurses Union",
    "3. Waldau, 2024-03-01: 70 people, called by the Farmers League",
)
THREE = ["Altau | 2024-03-01", "Altau | 2024-03-02", "Waldau | 2024-03-01"]


def test_a_short_document_is_one_request():
    listing, asker = listed(SMALL, true_model())
    assert names(listing) == THREE
    assert listing.extraction.announced == 3
    assert (listing.extraction.status, listing.extraction.flags) == ("found", ())
    assert [found.value for found in listing.extraction.values] == THREE
    assert [SMALL.text[one.evidence[0].start : one.evidence[0].end] for one in listing.entities] == [
        SMALL.text[block.start : block.end] for block in SMALL.blocks[1:]
    ]
    (request,) = asker.bought
    assert names_of(request) == [COUNT, LIST]
    assert request.question.variables == unit_prompts(UNIT, PROTESTS)
    assert request.question.listing
    assert request.question.part is None


def test_the_unit_as_a_variable():
    variable = unit_variable(UNIT)
    assert (variable.name, variable.instructions, variable.if_multiple_values) == (LIST, UNIT.definition, "all")


def test_a_document_without_entities():
    listing, asker = listed(source("Nothing happened this year."), true_model())
    assert listing.entities == ()
    assert (listing.extraction.status, listing.extraction.flags, listing.extraction.confidence) == (
        "not_stated", (), 1.0,
    )  # fmt: skip
    assert listing.extraction.announced is None
    assert len(asker.bought) == 1


@pytest.mark.parametrize("kind", ["table", "list", "prose", "mixed"])
@pytest.mark.parametrize("characters", [None, 3000, 700])
def test_lists_over_chunks_with_overlap_hold_each_entity_once(kind, characters):
    about, expected, parts = monitor(150, kind)
    assert len(parts) > 1
    assert all(one.end > other.start for one, other in pairwise(parts))
    listing, asker = listed(about, true_model(characters), parts)
    assert names(listing) == expected
    assert listing.extraction.announced == 150
    assert (listing.extraction.flags, listing.extraction.unread) == ((), ())
    assert asker.rejected == []
    assert all(len(entity.evidence) == 1 for entity in listing.entities)


def test_3200_entities_from_replies_of_a_thousand_tokens():
    about, expected, parts = monitor(3200)
    started = perf_counter()
    listing, asker = listed(about, true_model(3500), parts)
    assert names(listing) == expected  # recall and precision 1.0, and in their order
    assert len({entity.key for entity in listing.entities}) == 3200
    assert listing.extraction.announced == 3200
    assert (listing.extraction.flags, listing.extraction.unread) == ((), ())
    assert len(asker.bought) < 3200 * 130 / 3500 * 3
    assert perf_counter() - started < 60


def test_3200_entities_in_one_chunk_go_on_behind_the_last():
    about, expected, _ = monitor(3200, "table")
    listing, asker = listed(about, true_model(3500))
    assert names(listing) == expected
    starts = [start for start, _ in asker.spans]
    assert starts == sorted(set(starts))
    assert {end for _, end in asker.spans} == {len(about.text)}
    assert asker.names[0] == [COUNT, LIST]
    assert asker.names[1:] == [[LIST]] * (len(asker.bought) - 1)
    assert all(about.text[start - 1] == "\n" for start in starts[1:])  # at a line


@settings(deadline=None, database=None, max_examples=60)
@given(st.integers(1, 150), st.sampled_from(["table", "list", "prose", "mixed"]), st.integers(500, 3000), st.booleans())
def test_lists_are_whole_however_replies_are_cut(number, kind, characters, honest):
    def rule(request, text):
        given = true_model(characters)(request, text)
        return given if honest else replace(given, finish_reason="stop")

    about, expected, parts = monitor(number, kind, seed=number)
    listing, _ = listed(about, rule, parts)
    missing = set(expected) - set(names(listing))
    assert names(listing) == [name for name in expected if name not in missing]
    assert ("incomplete" in listing.extraction.flags) == bool(listing.extraction.unread)
    places = {name: about.text.index(even_line) for name, even_line in lines_of(about.text).items()}
    assert all(any(part.start <= places[name] < part.end for part in listing.extraction.unread) for name in missing)
    if characters > 700:
        assert not missing


def lines_of(text):
    return {f"{even(match['place'])} | {match['date']}": match[0] for match in re.finditer(ENTITY_PATTERN, text)}


def test_the_same_entity_worded_differently_in_the_overlap_is_one():
    first, second = SMALL.blocks[1], SMALL.blocks[2]
    parts = (Chunk(0, second.end, 1, 2), Chunk(second.start, len(SMALL.text), 2, 2))

    def rule(request, text):
        given = truth(text)
        if request.span[0]:
            given[1]["values"][0]["value"] = "ALTAU town | 2 March 2024"
        return reply(*given)

    listing, _ = listed(SMALL, rule, parts)
    assert names(listing) == THREE
    assert [len(one.evidence) for one in listing.entities] == [1, 1, 1]
    assert first.end < parts[1].start


def test_entities_that_share_their_evidence_stay_apart():
    about = source("Protests took place in Altau and Waldau on 1 March 2024.")
    quote = "Protests took place in Altau and Waldau on 1 March 2024."
    both = [("Altau | 2024-03-01", quote), ("Waldau | 2024-03-01", quote)]
    parts = (Chunk(0, len(about.text), 1, 2), Chunk(0, len(about.text), 2, 2))
    listing, _ = listed(about, lambda request, text: reply(answer(COUNT), answer(LIST, *both)), parts)
    assert names(listing) == ["Altau | 2024-03-01", "Waldau | 2024-03-01"]


WRONG, RIGHT = "1. Altau, 2024-03-01", "2. Altau, 2024-03-02"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param([(THREE[0], WRONG)], [(THREE[1], WRONG), (THREE[0], RIGHT)], id="by the second part"),
        pytest.param([(THREE[0], WRONG), (THREE[1], RIGHT)], [(THREE[1], WRONG)], id="by the first part"),
    ],
)
def test_what_one_part_tells_apart_is_not_taken_for_one_in_another(first, second):
    """The parts quote badly, so that two entities seem to stand in one place."""
    parts = (Chunk(0, len(SMALL.text), 1, 2), Chunk(SMALL.blocks[1].start, len(SMALL.text), 2, 2))
    rule = lambda request, text: reply(answer(COUNT), answer(LIST, *(second if request.span[0] else first)))  # noqa: E731
    listing, _ = listed(SMALL, rule, parts)
    proofs = {entity.name: {proof.quote for proof in entity.evidence} for entity in listing.entities}
    assert proofs == {name: {quote for given, quote in [*first, *second] if given == name} for name in THREE[:2]}


def test_an_entity_found_in_two_places_has_two_pieces_of_evidence():
    about = source("Altau saw a march on 2024-03-01.", "Later, the march of 2024-03-01 in Altau was praised.")
    quotes = ["Altau saw a march on 2024-03-01.", "the march of 2024-03-01 in Altau"]
    left = iter([("Altau | 2024-03-01", quotes[0]), ("altau  | March 1, 2024", quotes[1])])
    listing, _ = listed(about, lambda request, text: reply(answer(COUNT), answer(LIST, next(left))), per_block(about))
    (entity,) = listing.entities
    assert (entity.name, [proof.quote for proof in entity.evidence]) == ("Altau | 2024-03-01", quotes)


def backwards(characters):
    def rule(request, text):
        given = [one for one in truth(text) if one["variable"] in names_of(request)]
        given[-1]["values"].reverse()
        return cut(*given, characters=characters)

    return rule


def test_a_list_in_a_wrong_order_that_is_cut_falls_back_to_halves():
    about, expected, _ = monitor(60, "table")
    listing, asker = listed(about, backwards(1500))
    assert names(listing) == expected
    assert asker.bought[1].question.part == (1, 2)
    assert {request.span[1] for request in asker.bought} != {len(about.text)}
    assert asker.rejected == []


def test_a_list_in_a_wrong_order_that_is_whole_is_put_in_order():
    assert names(listed(SMALL, backwards(10_000))[0]) == THREE


INVENTED = ("Atlantis | 2024-03-01", "9. Atlantis, 2024-03-01: 1 people, called by the Mermaids Union")


def test_an_entry_without_evidence_is_left_out_and_flagged():
    def rule(request, text):
        number, entities = truth(text)
        entities["values"].insert(1, {"value": INVENTED[0], "evidence": INVENTED[1]})
        entities["values"].append({"value": "Nowhere | 2024-03-09", "evidence": ""})
        entities["values"].append({"value": " | ", "evidence": "documents 3 protests"})
        return reply(number, entities)

    listing, _ = listed(SMALL, rule)
    assert names(listing) == THREE
    assert listing.extraction.flags == ("evidence_absent", "low_confidence")
    left_out = [found for found in listing.extraction.values if found.value is None]
    assert [found.raw for found in left_out] == [INVENTED[0], "Nowhere | 2024-03-09", " | "]
    assert {found.problem for found in left_out} == {"is left out, as its evidence is not in the document"}


def test_nothing_but_invented_entries_is_no_entity():
    listing, _ = listed(SMALL, lambda request, text: reply(answer(COUNT), answer(LIST, INVENTED)))
    assert listing.entities == ()
    assert (listing.extraction.status, listing.extraction.accepted) == ("not_stated", ())
    assert "evidence_absent" in listing.extraction.flags


@pytest.mark.parametrize(
    ("number", "announced"),
    [
        pytest.param(answer(COUNT, ("3", "documents 3 protests")), 3, id="a number"),
        pytest.param(answer(COUNT, ("3,200", "documents 3 protests")), 3200, id="with a separator"),
        pytest.param(answer(COUNT, ("0", "documents 3 protests")), 0, id="none"),
        pytest.param(answer(COUNT, ("-3", "documents 3 protests")), None, id="below zero"),
        pytest.param(answer(COUNT, ("many", "documents 3 protests")), None, id="no number"),
        pytest.param(answer(COUNT), None, id="not stated"),
        pytest.param(answer(COUNT, "3", status="unclear"), None, id="unclear"),
        pytest.param(answer(COUNT, status="found"), None, id="found, but nothing given"),
        pytest.param(answer("another"), None, id="no answer"),
    ],
)
def test_the_number_that_the_document_announces(number, announced):
    listing, asker = listed(SMALL, lambda request, text: reply(number, truth(text)[1]))
    assert listing.extraction.announced == announced
    assert names(listing) == THREE
    assert len(asker.bought) == 1


def test_the_largest_number_that_a_part_announces_counts():
    rule = lambda request, text: reply(answer(COUNT, str(text.count("people") * 7)), truth(text)[1])  # noqa: E731
    assert listed(SMALL, rule, per_block(SMALL))[0].extraction.announced == 7


def test_a_number_without_a_list_is_kept_and_the_list_asked_alone():
    def forgetful(request, text):
        number, entities = truth(text)
        return reply(number) if len(request.asked) > 1 else reply(entities)

    listing, asker = listed(SMALL, forgetful)
    assert (names(listing), listing.extraction.announced) == (THREE, 3)
    assert asker.names == [[COUNT, LIST], [LIST]]
    assert asker.rejected == []


def test_a_malformed_list_is_asked_once_more():
    left = ["no JSON"]
    listing, asker = listed(SMALL, lambda request, text: told(left.pop()) if left else true_model()(request, text))
    assert names(listing) == THREE
    assert [bool(request.question.correction) for request in asker.bought] == [False, True]


FAULTS = {
    "malformed": lambda: told("no JSON"),
    "empty_reply": lambda: told(""),
    "refused": lambda: told("", refusal=True),
    "content_filtered": lambda: told("", finish_reason="content_filter"),
    "missing_answer": lambda: reply(answer("another")),
    "truncated": lambda: told("", finish_reason="length"),
}


@pytest.mark.parametrize("reason", FAULTS)
def test_a_part_that_cannot_be_read_is_told(reason):
    bad = SMALL.blocks[2]

    def rule(request, text):
        return FAULTS[reason]() if request.span[0] == bad.start else true_model()(request, text)

    listing, asker = listed(SMALL, rule, per_block(SMALL))
    assert names(listing) == [THREE[0], THREE[2]]
    assert listing.extraction.unread == (Unread(start=bad.start, end=bad.end, reason=reason),)
    assert "incomplete" in listing.extraction.flags
    assert listing.extraction.confidence == 0.5
    assert [(request.span[0], why) for request, why in asker.rejected] == [(bad.start, reason)]
    asker.rule, asker.bought = true_model(), []
    lister = Lister(interview=interview(SMALL, never)[0], unit=UNIT, codebook=PROTESTS, document_hash="ab12")
    lister = replace(lister, interview=replace(lister.interview, asker=asker))
    assert names(lister.all_in(per_block(SMALL))) == THREE  # a later run asks what gave up, and no more
    assert {request.span for request in asker.bought} == {(bad.start, bad.end)}


def never(request, text):
    raise AssertionError("nothing is to be asked")


def test_a_provider_that_refuses_a_part_leaves_it_unread():
    def rule(request, text):
        if "Waldau" in text:
            raise RejectedCallError("no", "content_filtered")
        return true_model()(request, text)

    listing, asker = listed(SMALL, rule, per_block(SMALL))
    assert names(listing) == THREE[:2]
    assert [one.reason for one in listing.extraction.unread] == ["content_filtered"]
    assert asker.rejected == []


@pytest.mark.parametrize("reason", FAULTS)
def test_a_list_that_cannot_be_read_at_all_is_an_error(reason):
    with pytest.raises(OutputError) as caught:
        listed(SMALL, lambda request, text: FAULTS[reason](), per_block(SMALL))
    assert caught.value.reason == reason


def test_what_is_too_long_is_halved():
    about, expected, _ = monitor(60)

    def small_window(request, text):
        if len(text) > 3000:
            raise RejectedCallError("context overflow", "too_long")
        return true_model()(request, text)

    listing, asker = listed(about, small_window)
    assert (names(listing), listing.extraction.announced) == (expected, 60)
    assert all(COUNT in names_of(request) for request in asker.bought)  # any part may announce it


ROW = ("Altau | 2024-03-01", "1. Altau, 2024-03-01: 50 people, called by the Nurses Union")
PLACES = 200  # lines
LINES = source(*(f"{n}. Altau, 2024-03-{n % 28 + 1:02}: {n} people, called by the Nurses Union" for n in range(PLACES)))


def first_of(text):
    return (text.splitlines()[0][:20], text.splitlines()[0])


def last_of(text):
    return (text.splitlines()[-1][:20], text.splitlines()[-1])


ENDLESS = {
    "no entries": lambda text: [],
    "the same entry from elsewhere": lambda text: [(LINES.text[:20], LINES.text.splitlines()[0])],
    "an entry behind the stretch": lambda text: [(LINES.text[-60:-40], LINES.text.splitlines()[-1])],
    "the first entry": lambda text: [first_of(text)],
    "the last entry": lambda text: [last_of(text)],
    "first and last": lambda text: [first_of(text), last_of(text)],
    "last and first": lambda text: [last_of(text), first_of(text)],
    "an invented entry": lambda text: [INVENTED],
    "a short quote that stands everywhere": lambda text: [("Altau", "Altau")] * 3,
    "an entry of the middle": lambda text: [first_of(text[len(text) // 2 :].partition("\n")[2] or text)],
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_model_that_never_ends_its_list_is_not_asked_for_ever(kind):
    def rule(request, text):
        entities = answer(LIST, *ENDLESS[kind](text))
        return told(reply(entities).text[:-20], finish_reason="length")  # behind its last entry

    asking, asker = interview(LINES, rule)
    lister = Lister(interview=asking, unit=UNIT, codebook=PROTESTS, document_hash="ab12")
    if kind == "no entries":
        with pytest.raises(OutputError, match=r"^the list of entities could not be read$"):
            lister.all_in(whole(LINES))
    else:
        listing = lister.all_in(whole(LINES))
        assert "incomplete" in listing.extraction.flags
        assert listing.entities or kind == "an invented entry"
    assert len(asker.bought) < 3 * PLACES
    prompts = [asker.prompt(request) for request in asker.bought]
    assert len(set(prompts)) == len(prompts)


def test_an_entry_that_stands_elsewhere_does_not_lead_past_what_is_unread():
    """A cut reply whose last entry stands behind the stretch says nothing about how far the list came."""
    half = LINES.blocks[PLACES // 2].start
    parts = (Chunk(0, half - 2, 1, 2), Chunk(half, len(LINES.text), 2, 2))

    def rule(request, text):
        if request.span == (0, half - 2):
            misled = answer(LIST, first_of(text), last_of(LINES.text))
            return told(reply(misled).text[:-20], finish_reason="length")
        return true_model()(request, text)

    assert set(names(listed(LINES, true_model(), parts)[0])) <= set(names(listed(LINES, rule, parts)[0]))


def codebook(*identifying, order=None):
    variables = [
        {
            "name": name,
            "type": kind,
            "instructions": "x",
            **({"categories": [{"value": "s", "label": "Strike"}]} if kind == "category" else {}),
        }
        for name, kind in identifying
    ]
    unit = {"entity": "protest", "definition": "One.", "identified_by": [name for name, _ in identifying]}
    return Codebook.model_validate(
        {"project": "p", "unit_of_observation": unit, "variables": variables, "date_order": order}
    )


def key(identification, book, document_hash="ab12"):
    about = source("The words.")
    listing, _ = listed(
        about,
        lambda request, text: reply(answer(COUNT), answer(LIST, (identification, "The words."))),
        codebook=book,
        document_hash=document_hash,
    )
    return listing.entities[0].key


EVERY = codebook(
    ("place", "text"), ("day", "date"), ("size", "number"), ("strike", "boolean"), ("kind", "category"), order="DMY"
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Altau | 2024-03-01 | 1200 | true | s", "ALTAU|1 March 2024|1,200.0|yes|Strike"),
        ("Altau | 2024-03-01 | 1200 | true | s", "  altau  |  01/03/2024 | 1.2 thousand | TRUE | STRIKE "),
        ("New  Altau | 2024-03 | x | x | x", "new altau | March 2024 | X | X | X"),
    ],
)
def test_the_same_identification_written_in_two_ways_has_one_key(one, other):
    assert key(one, EVERY) == key(other, EVERY)
    assert re.fullmatch("[0-9a-f]{16}", key(one, EVERY))


@pytest.mark.parametrize(
    "other",
    [
        "Waldau | 2024-03-01 | 1200 | true | s",
        "Altau | 2024-03-02 | 1200 | true | s",
        "Altau | 2024-03 | 1200 | true | s",
        "Altau | 2024-03-01 | 1201 | true | s",
        "Altau | 2024-03-01 | 1200 | false | s",
        "Altau | 2024-03-01 | 1200 | true | other",
        "Altau | 2024-03-01 | 1200 | true",
        "Altau",
    ],
)
def test_other_identifications_have_other_keys(other):
    assert key("Altau | 2024-03-01 | 1200 | true | s", EVERY) != key(other, EVERY)


def test_the_same_entity_of_another_document_has_another_key():
    assert key("Altau", codebook(("place", "text")), "ab12") != key("Altau", codebook(("place", "text")), "cd34")


def test_keys_stay_the_same_from_version_to_version():
    """Stored rows are known by them."""
    assert key("Altau | 2024-03-01", codebook(("place", "text"), ("day", "date"))) == "1c826455b9ce2f50"


def test_entities_are_known_by_name_where_nothing_identifies_them():
    unit = EntityUnit(entity="protest", definition="One.")
    book = Codebook(project="p", unit_of_observation=unit)
    assert key("The March", book) == key("the  march", book)
    assert key("A | B", book) == key("a|b", book) != key("A", book)


@pytest.mark.parametrize("kind", ["text", "date", "number"])
def test_hostile_identifications_are_not_normalised(kind):
    book = codebook(("v", kind))
    marks = "\u0301\u0316" * 50_000
    started = perf_counter()
    assert key(marks, book) == key(marks, book) != key("\u0316\u0301" * 50_000, book)
    assert perf_counter() - started < 2
    assert key("A" * 1001, book) != key("a" * 1001, book)
    assert key("A" * 1000, book) == key("a" * 1000, book)


class Down:
    def __init__(self, after, characters):
        self.left, self.rule = after, true_model(characters)

    def __call__(self, request, text):
        if not self.left:
            raise ProviderDownError("down")
        self.left -= 1
        return self.rule(request, text)


@pytest.mark.parametrize("after", [0, 1, 5, 9])
def test_after_an_interruption_the_list_goes_on_where_it_was(after):
    about, expected, parts = monitor(100)
    _, reference = listed(about, true_model(1500), parts)
    assert len(reference.bought) > 10
    asking, asker = interview(about, Down(after, 1500))
    lister = Lister(interview=asking, unit=UNIT, codebook=PROTESTS, document_hash="ab12")
    with pytest.raises(ProviderDownError):
        lister.all_in(parts)
    asker.rule, asker.bought = true_model(1500), []
    assert names(lister.all_in(parts)) == expected
    assert len(asker.bought) == len(reference.bought) - after


def test_confidence_is_what_the_model_said_of_its_whole_lists():
    def rule(request, text):
        number, entities = truth(text)
        return reply(number, entities | {"confidence": 0.7}, probability=0.2)

    assert listed(SMALL, rule)[0].extraction.confidence == 0.7
    about, _, _ = monitor(60, "table")
    cut_often = listed(about, true_model(1500))[0].extraction
    assert (cut_often.confidence, cut_often.signals.said) == (0.9, 0.9)
