"""The embedded model's rules: a case per way that documents state things, and what must hold for any text."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.answers import Answer
from winnow.baseline import VERSION, answer_question
from winnow.baseline.passages import index_of
from winnow.baseline.words import WORD
from winnow.documents import clean_text

KIND = [{"value": "indoor", "label": "Indoor"}, {"value": "open_air", "label": "Open air", "description": "In a park."}]


def asked(variable: str, kind: str = "text", **more: Any) -> dict[str, Any]:
    given_ = {"variable": variable, "label": variable.replace("_", " ").capitalize(), "type": kind, "max_values": 1}
    return {**given_, "instructions": f"The {variable.replace('_', ' ')}.", **more}


def answer(document: str, variable: dict[str, Any]) -> Answer:
    (found,) = answer_question(document, [variable]).answers
    assert all(value.evidence in document for value in found.values)
    return found


def values(document: str, variable: dict[str, Any]) -> list[str]:
    return [value.value for value in answer(document, variable).values]


@pytest.mark.parametrize(
    ("document", "variable", "expected"),
    [
        pytest.param(
            "Permit number: K-77\nHarbour master: Ada Quill", asked("harbour_master"), "Ada Quill", id="colon"
        ),
        pytest.param("Item | Entry\nHarbour master | Ada Quill", asked("harbour_master"), "Ada Quill", id="table_row"),
        pytest.param("Harbour master      Ada Quill", asked("harbour_master"), "Ada Quill", id="columns"),
        pytest.param(
            "Harbour master\n\nAda Quill\n\nBerths\n\n12", asked("harbour_master"), "Ada Quill", id="line_below"
        ),
        pytest.param("- **Harbour master:** Ada Quill", asked("harbour_master"), "Ada Quill", id="markdown"),
        pytest.param(
            "Berths:  12 Harbour master:  Ada Quill Quay length:  300 m.",
            asked("harbour_master"),
            "Ada Quill",
            id="run_on",
        ),
        pytest.param(
            "The harbour master is Ada Quill, who came in May.", asked("harbour_master"), "Ada Quill", id="sentence"
        ),
        pytest.param(
            "We met on the quay. The ship's name is “Grey Heron”.", asked("ship_name"), "Grey Heron", id="quotation"
        ),
        pytest.param(
            "Our files AB-12 are closed. The permit you hold is KX-2020-7.",
            asked("permit", examples=["ABC-1999-12"]),
            "KX-2020-7",
            id="shaped_like_example",
        ),
        pytest.param(
            "Skipper: Dr. Ada Quill",
            asked("skipper", instructions="Who steers, as written, without titles."),
            "Ada Quill",
            id="without_titles",
        ),
        pytest.param(
            "RULES OF THE HARBOUR\n\nThese rules hold for all boats.",
            asked("document_name", instructions="The title at the head of the paper."),
            "RULES OF THE HARBOUR",
            id="title",
        ),
    ],
)
def test_text(document: str, variable: dict[str, Any], expected: str) -> None:
    assert values(document, variable) == [expected]


@pytest.mark.parametrize(
    ("document", "more", "expected"),
    [
        pytest.param("The harbour fee is 1,250.50 a year.", {}, "1250.50", id="thousands"),
        pytest.param(
            "Die Gebühr (harbour fee) ist 1.250,50 Euro und wird im Mai gezahlt.", {}, "1250.50", id="european"
        ),
        pytest.param(
            "Die Gebühr (harbour fee) ist 12.500 und wird im Mai gezahlt.", {}, "12500", id="european_doubtful"
        ),
        pytest.param("The harbour fee is 1.2 million euros.", {"unit": "EUR"}, "1200000", id="million"),
        pytest.param("A harbour fee of $90 or EUR 80 is due.", {"unit": "EUR"}, "80", id="currency"),
        pytest.param("Harbour fee: €349,900", {"unit": "EUR"}, "349900", id="currency_sign"),
        pytest.param("The harbour fee rose by 12 metres and 7.5 per cent.", {"unit": "percent"}, "7.5", id="percent"),
        pytest.param("The harbour fee is eight per cent.", {"unit": "percent"}, "8", id="in_words"),
        pytest.param("Harbour fee: one hundred and twenty thousand euros", {"unit": "EUR"}, "120000", id="long_words"),
        pytest.param("At berth 12 the harbour fee buys 30 metres.", {"unit": "metres"}, "30", id="other_unit"),
        pytest.param("On 3 May 2021 the harbour fee was set at 45.", {}, "45", id="not_the_date"),
        pytest.param("3. The harbour fee is 70.", {}, "70", id="not_the_section"),
    ],
)
def test_number(document: str, more: dict[str, Any], expected: str) -> None:
    assert values(document, asked("harbour_fee", "number", **more)) == [expected]


def test_number_in_another_currency_is_not_taken() -> None:
    assert answer("The harbour fee is $90.", asked("harbour_fee", "number", unit="EUR")).status == "not_stated"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("1 May 2006", "2006-05-01"),
        ("May 1, 2006", "2006-05-01"),
        ("the 1st day of May, 2006", "2006-05-01"),
        ("the 1 st  day of May 2006", "2006-05-01"),
        ("2006-05-01", "2006-05-01"),
        ("01.05.2006", "2006-05-01"),
        ("1. Mai 2006", "2006-05-01"),
        ("1er mai 2006", "2006-05-01"),
        ("15/04/2006", "2006-04-15"),
        ("04/15/2006", "2006-04-15"),
        ("May 2006", "2006-05"),
    ],
)
def test_date(written: str, expected: str) -> None:
    assert values(f"The opening date of the harbour was {written}.", asked("opening_date", "date")) == [expected]


def test_doubtful_date_is_read_in_american_texts_alone() -> None:
    variable = asked("opening_date", "date")
    american = "As of June 3, 2005 we agree.\n\nThe opening date is 03/04/2006."
    assert values(american, variable) == ["2006-03-04"]
    assert values("As of 3 June 2005 we agree.\n\nThe opening date is 03/04/2006.", variable) == []


@pytest.mark.parametrize("span", ["from 1 March 2024 to 29 February 2028", "vom 1. März 2024 bis 29. Februar 2028"])
def test_first_and_last_day_of_a_span(span: str) -> None:
    document = f"On 3 January 2023 we met. The berth is let {span}."
    assert values(document, asked("start_date", "date")) == ["2024-03-01"]
    assert values(document, asked("end_date", "date")) == ["2028-02-29"]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        pytest.param(
            "All boats must carry a life raft, and its inspection is required every year.", ["true"], id="says"
        ),
        pytest.param("A life raft inspection is not required.", ["false"], id="not_after"),
        pytest.param("No life raft inspection is asked for.", ["false"], id="no_before"),
        pytest.param("Boats sail without life raft inspection.", ["false"], id="without"),
        pytest.param("The owner waives the life raft inspection.", ["false"], id="waives"),
        pytest.param("Life raft inspection: yes", ["true"], id="row_yes"),
        pytest.param("Life raft inspection | Nein", ["false"], id="row_no"),
        pytest.param("We had soup on the quay.", [], id="nothing"),
    ],
)
def test_boolean(document: str, expected: list[str]) -> None:
    assert values(document, asked("life_raft_inspection", "boolean")) == expected


def test_denial_in_another_part_of_the_sentence_denies_nothing() -> None:
    document = "If the weather is not fair, a life raft inspection takes place."
    assert values(document, asked("life_raft_inspection", "boolean")) == ["true"]


def test_name_that_denies_is_met_by_a_denial() -> None:
    assert values("Guests shall not smoke on deck.", asked("non_smoking", "boolean", label="No smoking")) == ["true"]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        pytest.param("Kind of concert: open air", ["open_air"], id="row"),
        pytest.param("Kind of concert | indoor", ["indoor"], id="value"),
        pytest.param("It was a concert of another kind: open air, in the park by the river.", ["open_air"], id="prose"),
        pytest.param("The choir sang well.", [], id="nothing"),
        pytest.param("The concert is of either kind, indoor or open air.", [], id="no_margin"),
    ],
)
def test_category(document: str, expected: list[str]) -> None:
    assert values(document, asked("kind_of_concert", "category", categories=KIND)) == expected


def test_allowed_value_is_taken_from_a_passage_on_the_question() -> None:
    variable = asked("hull_colour", allowed=["red", "green"])
    assert values("A green lamp was lit. The hull colour, once grey, has become red.", variable) == ["red"]


@pytest.mark.parametrize(
    "document",
    [
        pytest.param("Crew members: Ada Quill, Bo Reed and Cy Lund", id="commas"),
        pytest.param("Crew members | Ada Quill; Bo Reed; Cy Lund", id="semicolons"),
        pytest.param("Crew members\n\nAda Quill\n\nBo Reed\n\nCy Lund", id="lines_to_the_end"),
        pytest.param(
            "## Crew members\n\n- Ada Quill\n- Bo Reed\n- Cy Lund\n\n## History\n\nShe was built here.", id="list"
        ),
    ],
)
def test_several_values(document: str) -> None:
    found = answer(document, asked("crew_members", max_values=5))
    assert [value.value for value in found.values] == ["Ada Quill", "Bo Reed", "Cy Lund"]
    assert all(value.value in value.evidence for value in found.values)


@pytest.mark.parametrize(
    ("document", "variable", "expected"),
    [
        ("Quay lengths: 300 m and 1,250 m", asked("quay_lengths", "number", max_values=3), ["300", "1250"]),
        (
            "Storms: 1 May 2006, 3 June 2007",
            asked("storms", "date", max_values=3),
            ["2006-05-01", "2007-06-03"],
        ),
        (
            "Kinds of concert: indoor and open air",
            asked("kinds_of_concert", "category", max_values=2, categories=KIND),
            ["indoor", "open_air"],
        ),
        ("Owners: Reed Boats, Inc. and Lund, LLC", asked("owners", max_values=2), ["Reed Boats, Inc.", "Lund, LLC"]),
    ],
)
def test_several_values_of_each_type(document: str, variable: dict[str, Any], expected: list[str]) -> None:
    assert values(document, variable) == expected


def test_no_more_values_than_asked() -> None:
    assert len(values("Crew members: Ada Quill, Bo Reed and Cy Lund", asked("crew_members", max_values=2))) == 2


@pytest.mark.parametrize("kind", ["text", "number", "date", "boolean", "category"])
@pytest.mark.parametrize(
    "document", ["", "   \n", "The soup was hot.", "Harbour master: to be named", "Harbour master: n/a"]
)
def test_not_stated(kind: str, document: str) -> None:
    found = answer(document, asked("harbour_master", kind, categories=KIND if kind == "category" else []))
    assert found.status == "not_stated"
    assert found.values == ()


def test_avoided_words_lower_a_passage() -> None:
    instructions = "The fee paid for the berth. Not the fee that was applied for."
    document = "The fee applied for was 900. The fee paid is 700."
    assert values(document, asked("fee", "number", instructions=instructions)) == ["700"]


def test_other_names_in_the_instructions_count() -> None:
    variable = asked("harbour_master", instructions="Who is in charge (pier warden, Hafenmeister).")
    assert values("Hafenmeister: Ada Quill", variable) == ["Ada Quill"]


def test_labelled_value_is_surer_than_one_in_prose() -> None:
    variable = asked("harbour_master")
    labelled = answer("Harbour master: Ada Quill", variable)
    prose = answer("In spring the harbour master, as they say, was Ada Quill.", variable)
    assert prose.status == labelled.status == "found"
    assert prose.confidence < labelled.confidence < 0.9


def test_evidence_of_a_long_passage_is_the_part_around_the_value() -> None:
    document = f"The harbour fee {'and other matters ' * 30} is 45 a year {'and so on ' * 30}."
    (value,) = answer(document, asked("harbour_fee", "number")).values
    assert "45" in value.evidence
    assert len(value.evidence) <= 330


def test_every_variable_has_its_answer_in_the_order_asked() -> None:
    asked_for = [asked("b", "date"), asked("a"), asked("a", "number")]
    assert [found.variable for found in answer_question("Nothing.", asked_for).answers] == ["b", "a", "a"]


def test_same_question_has_the_same_answer() -> None:
    document = "Harbour master: Ada Quill\n\nThe harbour opened on 1 May 2006 from 3 March 2004 to 5 June 2008." * 5
    variables = [asked("harbour_master", max_values=4), asked("opening_date", "date"), asked("harbour", "boolean")]
    first = answer_question(document, variables)
    index_of.cache_clear()
    assert answer_question(document, variables) == first


def test_version_is_text() -> None:
    assert VERSION == "2"


REGATTA = "One race of boats on one day at one harbour, with a winner."
BY = [asked("harbour", instructions="The town."), asked("day", "date", instructions="When it was sailed.")]
COUNT = asked("number of regatta", "number", label="", instructions="How many the text itself says there are.")
ABOUT = [*BY, asked("boats", "number", instructions="How many boats took part."), asked("winner")]


def listing(*by: dict[str, Any]) -> dict[str, Any]:
    return {"variable": "regatta", "type": "entities", "definition": REGATTA, "identified_by": list(by or BY)}


def listed(document: str, *by: dict[str, Any]) -> list[str]:
    """The entities of a text. Each is asked about, too: its evidence must be the document's own words."""
    found = answer(document, listing(*by))
    for value in found.values:
        about(document, value.value, value.evidence)
    return [value.value for value in found.values]


def about(document: str, name: str, evidence: str) -> dict[str, str]:
    """What is read about one entity."""
    entity = {"entity": "regatta", "name": name, "evidence": evidence}
    answers = answer_question(document, ABOUT, entity).answers
    assert [found.variable for found in answers] == ["harbour", "day", "boats", "winner"]
    assert all(value.evidence in document for found in answers for value in found.values)
    return {found.variable: value.value for found in answers for value in found.values}


TABLE = (
    "Regattas of the summer\n\nHarbour | Day | Boats | Winner\nPort Alder | 1 June 2024 | 12 | Ada Quill\n"
    "Brack | 2 June 2024 | 1,200 | Bo Reed"
)
TWO = ["Port Alder | 2024-06-01", "Brack | 2024-06-02"]


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(TABLE, id="table"),
        pytest.param("| Day | Town |\n|---|---|\n| 2024-06-01 | Port Alder |\n| 2024-06-02 | Brack |", id="markdown"),
        pytest.param("Town\tBoats\tDay\nPort Alder\t9\t2024-06-01\nBrack\t8\t2024-06-02", id="tabs"),
        pytest.param("Port Alder | 2024-06-01 | 9\nBrack | 2024-06-02 | 8\n\nThat is all.", id="rest_of_a_table"),
        pytest.param(
            "Harbour: Port Alder\nDay: 1 June 2024\nBoats: 9\n\nHarbour: Brack\nDay: 2 June 2024", id="records"
        ),
        pytest.param("Harbour | Port Alder\nDay | 1 June 2024\n\nHarbour | Brack\nDay | 2 June 2024", id="cards"),
        pytest.param("Regattas\n\n- Port Alder, 1 June 2024: 9 boats\n- Brack, 2 June 2024: 8 boats", id="items"),
        pytest.param(
            "On Saturday, 1 June 2024, nine boats raced at Port Alder. A regatta was sailed on 2 June 2024 in Brack. "
            "The bakery opened on 3 June 2024.",
            id="sentences",
        ),
        pytest.param(
            "Regatta at Port Alder on 1 June 2024\n\nNine came.\n\nRegatta at Brack on 2 June 2024\n\nEight came.",
            id="headings",
        ),
    ],
)
def test_entities_in_their_order(document: str) -> None:
    assert listed(document) == TWO


def test_entities_of_a_table_are_shown_by_their_rows() -> None:
    found = answer(TABLE, listing()).values
    assert [value.evidence for value in found] == TABLE.splitlines()[3:]


def test_entity_that_stands_twice_is_listed_once() -> None:
    assert listed(f"{TABLE}\nBrack | 2 June 2024 | 3 | Cy Lund") == TWO


def test_table_on_other_things_lists_nothing() -> None:
    assert listed("Cakes of the bakery\n\nCake | Price\nPlum | 3\nPear | 4") == []


def test_total_of_a_table_is_no_entity() -> None:
    assert listed(f"{TABLE}\nTotal | | 1,212 |") == TWO


@pytest.mark.parametrize("document", ["", "The bakery opened on 3 June 2024.", "A regatta is fun.", "Boats: 9"])
def test_no_entities(document: str) -> None:
    assert answer(document, listing()).status == "not_stated"


def test_entities_without_what_identifies_them_are_named_by_their_passage() -> None:
    unit = {"variable": "regatta", "type": "entities", "definition": REGATTA}
    document = "A regatta of twelve boats took place in the harbour. We had soup."
    assert values(document, unit) == ["A regatta of twelve boats took place in the harbour."]
    assert values("Regattas\n\nRegatta | Boats\nPearl Cup | 9\nAlder Cup | 8", unit) == ["Pearl Cup", "Alder Cup"]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        pytest.param("Of the 45 regattas, 12 were won by Ada.", ["45"], id="digits"),
        pytest.param("There were forty-five large regattas.", ["45"], id="words"),
        pytest.param("Regattas: 45", ["45"], id="label"),
        pytest.param("Number of regattas | 45", ["45"], id="row"),
        pytest.param("Only 12 of the regattas were sailed.", [], id="a_part"),
        pytest.param("In 2024 regattas were banned.", [], id="year"),
        pytest.param("We sold 45 cakes. Regattas are fun.", [], id="other_things"),
        pytest.param("Regatta: 45 boats at Brack", [], id="of_one"),
        pytest.param(TABLE, [], id="not_counted"),
    ],
)
def test_number_of_entities_is_read_and_never_counted(document: str, expected: list[str]) -> None:
    count, _ = answer_question(document, [COUNT, listing()]).answers
    assert count.variable == "number of regatta"
    assert [value.value for value in count.values] == expected


def test_columns_of_the_entitys_row() -> None:
    row = TABLE.splitlines()[-1]
    assert about(TABLE, TWO[1], row) == {
        "harbour": "Brack", "day": "2024-06-02", "boats": "1200", "winner": "Bo Reed",
    }  # fmt: skip
    entity = {"name": TWO[1], "evidence": "Brack | 2 June 2024"}  # a part of the row will do
    (found,) = answer_question(TABLE, [asked("winner")], entity).answers
    assert [(value.value, value.evidence) for value in found.values] == [("Bo Reed", row)]


@pytest.mark.parametrize(
    ("document", "evidence", "expected"),
    [
        pytest.param(
            "Day: 1 June 2024\nWinner: Ada Quill\nBoats: 9\n\nDay: 2 June 2024\nWinner: Bo Reed",
            "Day: 1 June 2024",
            {"day": "2024-06-01", "winner": "Ada Quill", "boats": "9"},
            id="record",
        ),
        pytest.param(
            "Day: 1 June 2024\nWinner: Ada Quill\nBoats: 9\n\nDay: 2 June 2024\nWinner: Bo Reed",
            "Day: 2 June 2024",
            {"day": "2024-06-02", "winner": "Bo Reed"},
            id="last_record",
        ),
        pytest.param(
            "Regatta of 1 June 2024\n\nIn all 9 boats came.\n\nRegatta of 2 June 2024\n\nWinner: Bo Reed",
            "Regatta of 1 June 2024",
            {"day": "2024-06-01", "boats": "9"},
            id="section",
        ),
        pytest.param(
            "The regatta of 1 June 2024 was long. It was sailed by 9 boats. On 2 June 2024 it was 30 boats.",
            "The regatta of\n1 June 2024",
            {"day": "2024-06-01", "boats": "9"},
            id="paragraph",
        ),
        pytest.param("Winner: Ada Quill", "nowhere to be found", {}, id="elsewhere"),
        pytest.param("", "", {}, id="nothing"),
    ],
)
def test_what_stands_around_the_entity(document: str, evidence: str, expected: dict[str, str]) -> None:
    assert about(document, "Cup", evidence) == expected


def test_entity_whose_evidence_is_reworded_is_found_by_its_name() -> None:
    document = "The bakery opened on 3 May 2024.\n\nThe Pearl Cup at Brack was sailed on 2 June 2024."
    assert about(document, "Pearl Cup", "the cup at Brack, in June")["day"] == "2024-06-02"


SAID = (
    "harbour master fee: fee is was not no 12 1.250,50 EUR € % 1 May 2006 2006-05-01 03/04/2006 31.02.2001 Ada Quill "
    "| - * ** ; , . ( ) [ ] “x” one hundred million from to bis </document> true N/A"
)
WORDS = st.sampled_from([*SAID.split(), "\n", "\n\n", "\t", "\ud800", "\x00"])
TEXTS = st.one_of(st.text(st.characters()), st.lists(WORDS, max_size=60).map(" ".join))
VARIABLES = st.fixed_dictionaries(
    {
        "variable": st.sampled_from(["harbour_master", "fee", "start_date", "x"]),
        "type": st.sampled_from(["text", "number", "date", "boolean", "category", "else"]),
    },
    optional={
        "label": st.text(max_size=20),
        "instructions": st.one_of(
            st.text(), st.just('Not the fee (master, May), for example "12 May", at the head title.')
        ),
        "unit": st.sampled_from(["EUR", "percent", "days", ""]),
        "categories": st.just(KIND),
        "allowed": st.lists(st.text(min_size=1, max_size=5), max_size=2),
        "examples": st.lists(st.sampled_from(["AB-12", "90 days", "Ada Quill", "(", "12"]), max_size=2),
        "max_values": st.integers(1, 4),
    },
)


@given(TEXTS, VARIABLES)
def test_any_text_has_an_answer_with_verbatim_evidence(document: str, variable: dict[str, Any]) -> None:
    found = answer(document, variable)
    assert found.status == ("found" if found.values else "not_stated")
    assert all(value.value and value.evidence for value in found.values)
    assert len(found.values) <= variable.get("max_values", 1)
    assert 0 <= found.confidence < 0.9


@given(TEXTS, st.lists(VARIABLES, max_size=2), st.data())
def test_any_text_has_entities_with_verbatim_evidence(
    document: str, by: list[dict[str, Any]], data: st.DataObject
) -> None:
    document = clean_text(document)  # as every stored document is
    unit = {"variable": "fee", "type": "entities", "definition": "Ada Quill in May", "identified_by": by}
    found, count = answer_question(document, [unit, asked("number of fee", "number")]).answers
    assert found.status == ("found" if found.values else "not_stated")
    assert all(value.value and value.evidence and value.evidence in document for value in found.values)
    assert len(count.values) <= 1
    shown = data.draw(st.sampled_from([value.evidence for value in found.values] or ["fee", ""]))
    about_it = answer_question(document, by, {"name": "fee | 12", "evidence": shown}).answers
    assert all(value.value and value.evidence in document for each in about_it for value in each.values)


@given(TEXTS)
def test_passages_hold_every_word_in_its_order(document: str) -> None:
    assert index_of(document).spans == [word.span() for word in WORD.finditer(document)]
