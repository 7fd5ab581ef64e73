import json

import pytest

from winnow.answers import ENVELOPE_SCHEMA, Answer, AnswerValue, Envelope, answer_for, read_reply
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
        pytest.param("}{", "the reply holds no JSON object, or more than one", id="braces the wrong way round"),
        pytest.param(PLAIN[:-20], "the reply is not JSON: Expecting", id="cut short"),
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
