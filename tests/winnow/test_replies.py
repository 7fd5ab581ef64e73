"""Which replies are whole enough to be read."""

import json

import pytest

from winnow.answers import Envelope
from winnow.calls import Reply
from winnow.exceptions import OutputError
from winnow.replies import interpret

WHOLE = json.dumps({"answers": [{"variable": "fee", "status": "not_stated", "values": [], "confidence": 0.9}]})


def reply(text: str = WHOLE, finish_reason: str | None = "stop", refusal: bool = False) -> Reply:
    return Reply(raw={"text": text}, text=text, finish_reason=finish_reason, refusal=refusal)


def reason(given: Reply) -> str:
    with pytest.raises(OutputError) as raised:
        interpret(given)
    return raised.value.reason


@pytest.mark.parametrize("finish_reason", ["stop", "end_turn", "tool_calls", "STOP", "", None])
def test_a_whole_reply_is_read_whatever_its_provider_calls_the_end(finish_reason: str | None) -> None:
    envelope = interpret(reply(finish_reason=finish_reason))

    assert isinstance(envelope, Envelope)
    assert [answer.variable for answer in envelope.answers] == ["fee"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(reply(refusal=True), "refused", id="refused"),
        pytest.param(reply("", refusal=True), "refused", id="refused, without text"),
        pytest.param(reply(finish_reason="content_filter"), "content_filtered", id="filtered"),
        pytest.param(reply("", "content_filter"), "content_filtered", id="filtered, without text"),
        pytest.param(reply(WHOLE[:40], "length"), "truncated", id="cut short"),
        pytest.param(reply("", "length"), "truncated", id="cut short before the first word"),
        pytest.param(reply(WHOLE, "length"), "truncated", id="cut short where it happens to be whole"),
        pytest.param(reply(""), "empty_reply", id="empty"),
        pytest.param(reply(" \n\t"), "empty_reply", id="white space"),
        pytest.param(reply("", None), "empty_reply", id="empty, without a reason"),
        pytest.param(reply(WHOLE[:-1]), "truncated", id="cut short, though said to be whole"),
        pytest.param(reply(WHOLE[:-1], None), "truncated", id="cut short, and nothing said"),
        pytest.param(reply("I cannot."), "malformed", id="words"),
        pytest.param(reply('{"answer": []}'), "malformed", id="another form"),
    ],
)
def test_a_reply_that_is_no_answer_has_its_reason(given: Reply, expected: str) -> None:
    assert reason(given) == expected


@pytest.mark.parametrize("finish_reason", ["stop", "length", "content_filter", None])
def test_a_refusal_goes_before_all_else(finish_reason: str | None) -> None:
    assert reason(reply(finish_reason=finish_reason, refusal=True)) == "refused"


@pytest.mark.parametrize("finish_reason", ["stop", "length", "content_filter"])
def test_no_message_quotes_the_reply(finish_reason: str) -> None:
    with pytest.raises(OutputError) as raised:
        interpret(reply('{"Ada Quill": 1250}', finish_reason, refusal=finish_reason == "stop"))
    assert "Quill" not in str(raised.value)
