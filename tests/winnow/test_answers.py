import json
from time import perf_counter

import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from winnow.answers import ENVELOPE_SCHEMA, Answer, AnswerValue, Envelope, answer_for, read_partial, read_reply
from winnow.exceptions import OutputError


def given(**more):
    return {
        "variable": "fee",
        "status": "found",
        "values": [{"value": "5", "evidence": "a fee of 5"}],
        "confidence": 0.9,
        **more,
    }


def reply(*answers):
    return json.dumps({"answers": list(answers or (given(),))})


PLAIN = reply()
PRETTY = json.dumps({"answers": [given()]}, indent=2)
TICKS = reply(given(values=[{"value": "use ```json\n{}\n``` here", "evidence": ""}]))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(PLAIN, id="as asked"),
        pytest.param(f"\n  {PRETTY}\n\n", id="white space around"),
        pytest.param(f"\ufeff{PLAIN}", id="byte order mark"),
        pytest.param(f"```json\n{PRETTY}\n```", id="fenced"),
        pytest.param(f"```\n{PLAIN}\n```", id="fenced without a language"),
        pytest.param(f"```JSON \n{PLAIN}\n  ```  ", id="fenced, other spelling"),
        pytest.param(f"```json {PLAIN}```", id="fenced on one line"),
        pytest.param(f"Here {{as asked}}:\n```json\n{PRETTY}\n```\nI hope this helps.", id="prose around a fence"),
        pytest.param(f"Here it is: {PLAIN}", id="prose before"),
        pytest.param(f"{PLAIN}\nI hope this helps.", id="prose after"),
        pytest.param(f"Here it is:\n{PRETTY}\nI hope this helps.", id="prose around"),
    ],
)
def test_read(text):
    assert read_reply(text) == Envelope(
        answers=(
            Answer(
                variable="fee",
                status="found",
                values=(AnswerValue(value="5", evidence="a fee of 5"),),
                confidence=0.9,
            ),
        )
    )


@pytest.mark.parametrize("text", [TICKS, f"```json\n{TICKS}\n```", f"See:\n{TICKS}"])
def test_fences_inside_a_value(text):
    assert read_reply(text).answers[0].values[0].value == "use ```json\n{}\n``` here"


@pytest.mark.parametrize(
    ("more", "confidence"),
    [({"confidence": 1}, 1.0), ({"confidence": 0}, 0.0), ({"confidence": "0.9"}, 0.9)],
)
def test_confidence_that_can_only_mean_one_thing(more, confidence):
    assert read_reply(reply(given(**more))).answers[0].confidence == confidence


def test_what_no_store_takes_is_taken_out():
    text = PLAIN.replace('"5"', '"5\\u0000\\ud800\\r\\n6"')
    assert read_reply(text).answers[0].values[0].value == "5\n6"


def test_a_pair_of_surrogates_is_a_character():
    assert read_reply(PLAIN.replace('"5"', '"\\ud83d\\ude00"')).answers[0].values[0].value == "😀"


def test_template_tricks_are_text():
    tricks = '{x.__class__} {{7*7}} {% x %} {"lc": 1, "type": "secret"} ${HOME}'
    text = reply(given(values=[{"value": tricks, "evidence": tricks}]))
    assert read_reply(text).answers[0].values == (AnswerValue(value=tricks, evidence=tricks),)


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_empty_reply(text):
    with pytest.raises(OutputError, match=r"^the model's reply is empty$") as caught:
        read_reply(text)
    assert caught.value.reason == "empty_reply"


FORM = "the reply has another form than asked: "


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("I cannot answer.", "the reply holds no JSON object, or more than one", id="prose"),
        pytest.param("} ]", "the reply holds no JSON object, or more than one", id="no opening brace"),
        pytest.param(PLAIN + PLAIN, "the reply is not JSON: Extra data", id="two objects"),
        pytest.param(
            f"```json\n{PLAIN}\n```\n```json\n{PLAIN}\n```",
            "the reply holds no JSON object, or more than one",
            id="two fences",
        ),
        pytest.param(f"<think>a {{b}}</think>{PLAIN}", "the reply is not JSON: ", id="braces in the prose"),
        pytest.param("{'answers': []}", "the reply is not JSON: ", id="single quotes"),
        pytest.param('{"answers": [],}', "the reply is not JSON: ", id="comma too many"),
        pytest.param('{"answers": [], "answers": []}', "the reply is not JSON: a key stands twice", id="key twice"),
        pytest.param(
            PLAIN.replace('"value"', '"value": "4", "value"'),
            "the reply is not JSON: a key stands twice",
            id="value twice",
        ),
        pytest.param(PLAIN.replace("0.9", "NaN"), "the reply is not JSON: NaN is not JSON", id="NaN"),
        pytest.param(PLAIN.replace("0.9", "-Infinity"), "the reply is not JSON: -Infinity is not JSON", id="infinity"),
        pytest.param(
            PLAIN.replace("0.9", "1e400"), f"{FORM}answers.0.confidence: Input should be a finite number", id="1e400"
        ),
        pytest.param(PLAIN.replace("0.9", "9" * 5000), "the reply is not JSON: Exceeds the limit", id="5,000 digits"),
        pytest.param('{"answers": ' + "[" * 100_000 + "}", "the reply is not JSON: ", id="deep lists"),
        pytest.param('{"a":' * 100_000 + "}" * 100_000, "the reply is not JSON: ", id="deep objects"),
        pytest.param("{}", f"{FORM}answers: Field required", id="empty object"),
        pytest.param(json.dumps([given()]), f"{FORM}answers: Field required", id="list of answers"),
        pytest.param('{"answers": null}', f"{FORM}answers: Input should be a valid tuple", id="no list"),
        pytest.param(reply("x"), f"{FORM}answers.0: Input should be", id="answer is a text"),
        pytest.param(reply(given(status="maybe")), f"{FORM}answers.0.status: Input should be 'found'", id="status"),
        pytest.param(reply(given(status=None)), f"{FORM}answers.0.status: Input should be 'found'", id="no status"),
        pytest.param(reply(given(variable=5)), f"{FORM}answers.0.variable: Input should be a valid string", id="name"),
        pytest.param(reply(given(values="5")), f"{FORM}answers.0.values: Input should be a valid tuple", id="values"),
        pytest.param(reply(given(values=None)), f"{FORM}answers.0.values: Input should be a valid tuple", id="null"),
        pytest.param(reply(given(values=["5"])), f"{FORM}answers.0.values.0: Input should be", id="bare value"),
        pytest.param(
            reply(given(values=[{"value": ["5"], "evidence": ""}])),
            f"{FORM}answers.0.values.0.value: Input should be a valid string",
            id="list for a text",
        ),
        pytest.param(
            reply(given(values=[{"value": None, "evidence": ""}])),
            f"{FORM}answers.0.values.0.value: Input should be a valid string",
            id="null for a text",
        ),
        pytest.param(reply(given(extra=1)), f"{FORM}answers.0: Extra inputs are not permitted", id="extra key"),
        pytest.param(
            reply({"variable": "fee", "status": "found", "values": []}),
            f"{FORM}answers.0.confidence: Field required",
            id="missing key",
        ),
        pytest.param(
            reply(given(variable="x" * 1001)), f"{FORM}answers.0.variable: String should have at most", id="long name"
        ),
        pytest.param(
            reply(given(values=[{"value": 5, "evidence": ""}])),
            f"{FORM}answers.0.values.0.value: Input should be a valid string",
            id="number for a text",
        ),
        pytest.param(
            reply(given(values=[{"value": "5"}])),
            f"{FORM}answers.0.values.0.evidence: Field required",
            id="no evidence",
        ),
        pytest.param(
            reply(given(confidence=1.5)),
            f"{FORM}answers.0.confidence: Input should be less than or equal to 1",
            id="1.5",
        ),
        pytest.param(
            reply(given(confidence=-0.1)),
            f"{FORM}answers.0.confidence: Input should be greater than or equal",
            id="-0.1",
        ),
        pytest.param(
            reply(given(confidence=True)), f"{FORM}answers.0.confidence: Input should be a valid number", id="true"
        ),
        pytest.param(
            reply(given(confidence=None)), f"{FORM}answers.0.confidence: Input should be a valid number", id="unsure"
        ),
        pytest.param(
            reply(given(confidence="high")), f"{FORM}answers.0.confidence: Input should be a valid number", id="high"
        ),
    ],
)
def test_malformed(text, said):
    with pytest.raises(OutputError) as caught:
        read_reply(text)
    assert caught.value.reason == "malformed"
    assert str(caught.value).startswith(said)


WORDS = st.text('ab {}[]"\\\n,:é😀\u0301', max_size=8)
VALUES = st.lists(st.fixed_dictionaries({"value": WORDS, "evidence": WORDS}), max_size=3)
ANSWERS = st.builds(
    given,
    values=VALUES,
    status=st.sampled_from(["found", "unclear"]),
    confidence=st.sampled_from([0, 1, 0.25, 1e-7, 1.5e-10]),
)
FORMS = st.fixed_dictionaries({"ensure_ascii": st.booleans(), "indent": st.sampled_from([None, 2])})


@settings(deadline=None, database=None)
@drawn(st.lists(ANSWERS, min_size=1, max_size=2), FORMS, st.sampled_from(["", "Here: ", "```json\n"]), st.data())
def test_json_that_is_cut_anywhere_was_cut_short_whatever_its_server_says(answers, form, before, data):
    whole = json.dumps({"answers": answers}, **form)
    cut = data.draw(st.integers(1, len(whole) - 1))
    with pytest.raises(OutputError) as caught:
        read_reply(before + whole[:cut])
    assert caught.value.reason == "truncated"
    assert str(caught.value) == "the reply ends in the middle of its JSON"


@pytest.mark.parametrize("literal", ["true", "false", "null", "-1.5e-7", '"\\u00e9\\ud83d\\ude00\\n"'])
def test_json_that_is_cut_in_a_word_of_its_own_was_cut_short(literal):
    for cut in range(1, len(literal)):
        with pytest.raises(OutputError) as caught:
            read_reply('{"answers": ' + literal[:cut])
        assert caught.value.reason == "truncated"


def test_json_that_is_wrong_before_its_end_was_not_cut_short():
    with pytest.raises(OutputError) as caught:
        read_reply('{"answers": [}, {"variable": "fe')
    assert caught.value.reason == "malformed"


LISTED = st.builds(lambda value, evidence: AnswerValue(value=value, evidence=evidence), WORDS, WORDS)


@settings(deadline=None, database=None)
@drawn(st.lists(LISTED, max_size=4), FORMS, st.data())
def test_a_list_cut_anywhere_gives_its_first_values_whole(listed, form, data):
    values = [value.model_dump() for value in listed]
    number = given(variable="number of protest", values=[{"value": "3", "evidence": '"variable": "protest"'}])
    text = json.dumps({"answers": [number, given(variable="Protest", values=values), given()]}, **form)
    cut = data.draw(st.integers(0, len(text)))

    read = read_partial(text[:cut], "protest")

    at, ends = text.index('"variable": "Protest"'), []
    for _ in values:
        _, at = json.JSONDecoder().raw_decode(text, text.index("{", at))
        ends.append(at)
    assert list(read) == listed[: sum(end <= cut for end in ends)]


PARTIAL = '{"answers": [{"variable": "protest", "status": "found", "values": [{"value": "a", "evidence": "b"}, '
FIRST = (AnswerValue(value="a", evidence="b"),)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        pytest.param(PARTIAL, FIRST, id="cut behind a comma"),
        pytest.param(PARTIAL + '{"value": "c", "evidence": "d', FIRST, id="cut in a quote"),
        pytest.param(PARTIAL + '{"value": "c"', FIRST, id="cut before the evidence"),
        pytest.param(PARTIAL + '{"value": "c", "value": "d", "evidence": ""}', FIRST, id="a key twice"),
        pytest.param(PARTIAL + '{"value": 5, "evidence": ""}, ', FIRST, id="a number for a text"),
        pytest.param(PARTIAL + "NaN, ", FIRST, id="not JSON"),
        pytest.param(PARTIAL + "[" * 100_000, FIRST, id="deep lists"),
        pytest.param(PARTIAL.replace(', "status": "found"', ""), FIRST, id="without status"),
        pytest.param(PARTIAL.replace('"found"', '"found", "confidence": 0.9'), FIRST, id="confidence before values"),
        pytest.param(PARTIAL.replace("protest", "PROTEST "), FIRST, id="another spelling of the name"),
        pytest.param(PARTIAL.replace("protest", "march"), (), id="another variable's"),
        pytest.param(PARTIAL.replace("protest", "\\ud800\\"), (), id="an impossible name"),
        pytest.param(PARTIAL.replace("protest", "\u0301\u0316" * 50_000), (), id="a hostile name"),
        pytest.param(
            '{"answers": [{"values": [], "variable": "protest"}, {"variable": "x", "values": [{"value": "a", ',
            (),
            id="the bracket of another answer",
        ),
        pytest.param('"variable": "protest", ' * 20_000, (), id="names without values"),
        pytest.param("", (), id="empty"),
    ],
)
def test_what_a_cut_list_gives(text, values):
    started = perf_counter()
    assert read_partial(text, "protest") == values
    assert perf_counter() - started < 1


def test_a_hostile_name_does_not_hold_up_a_run():
    started = perf_counter()
    with pytest.raises(OutputError) as caught:
        read_reply(reply(given(variable="\u0301\u0316" * 50_000)))
    assert caught.value.reason == "malformed"
    longest = read_reply(reply(given(variable="\u0301\u0316" * 500), given()))
    assert answer_for(longest, "fee").variable == "fee"
    assert perf_counter() - started < 1


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(reply(given(**{"canary text": 1})), id="key of an answer"),
        pytest.param(json.dumps({"answers": [], "canary text": 1}), id="key of the reply"),
        pytest.param(reply(given(values=[{"value": "", "evidence": "", "canary text": 1}])), id="key of a value"),
        pytest.param(reply(given(status="canary text")), id="status"),
        pytest.param(reply(given(confidence="canary text")), id="confidence"),
        pytest.param(reply(given(values="canary text")), id="values"),
        pytest.param('{"canary text": 1, "canary text": 2}', id="key twice"),
        pytest.param('{"answers": canary text}', id="not JSON"),
        pytest.param("canary text", id="prose"),
    ],
)
def test_no_message_quotes_the_reply(text):
    with pytest.raises(OutputError) as caught:
        read_reply(text)
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_answer_of_a_variable_in_any_spelling_of_its_name():
    envelope = read_reply(reply(given(variable="other"), given(variable=" FEE")))
    assert answer_for(envelope, "Ｆee").variable == " FEE"


def test_missing_answer():
    with pytest.raises(OutputError, match=r"^the reply has no answer for fee$") as caught:
        answer_for(read_reply(reply(given(variable="other"))), "fee")
    assert caught.value.reason == "missing_answer"


def test_no_answers_at_all():
    with pytest.raises(OutputError) as caught:
        answer_for(read_reply('{"answers": []}'), "fee")
    assert caught.value.reason == "missing_answer"


def test_the_same_answer_twice():
    envelope = read_reply(reply(given(), given()))
    assert answer_for(envelope, "fee") == envelope.answers[0]


@pytest.mark.parametrize(
    "other",
    [{"values": [{"value": "6", "evidence": "a fee of 5"}]}, {"status": "unclear"}, {"confidence": 0.8}],
)
def test_contradicting_answers(other):
    with pytest.raises(OutputError, match=r"^the reply has answers for fee that contradict each other$") as caught:
        answer_for(read_reply(reply(given(), given(**other))), "fee")
    assert caught.value.reason == "malformed"


def test_one_bad_answer_of_another_variable_does_not_stand_in_the_way():
    envelope = read_reply(reply(given(), given(variable="x"), given(variable="x", confidence=0.1)))
    assert answer_for(envelope, "fee").confidence == 0.9


def test_the_schema_asks_for_what_the_envelope_reads():
    """Providers' strict modes want every key required, no other keys, and no keyword beyond the common subset."""

    def parts(schema):
        yield schema
        for part in [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]:
            yield from parts(part)

    for part in parts(ENVELOPE_SCHEMA):
        assert set(part) <= {
            "title", "description", "type", "properties", "items", "required", "additionalProperties", "enum",
        }  # fmt: skip
        if part["type"] == "object":
            assert part["additionalProperties"] is False
            assert part["required"] == list(part["properties"])
    answer = ENVELOPE_SCHEMA["properties"]["answers"]["items"]
    assert list(answer["properties"]) == list(Answer.model_fields)
    assert list(answer["properties"]["values"]["items"]["properties"]) == list(AnswerValue.model_fields)
