"""Asking a model, over real connections: what comes back, in whatever state, and what is sent."""

import contextlib
import json
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, get_args

import pytest

from tasks import capabilities, chat_models, models
from tasks.models import BASELINE, TEMPERATURES, ask, check_model, chosen_model, parameters
from tests.conftest import forget
from tests.openai_replies import FAULTS
from tests.openai_server import OpenAIServer
from winnow import baseline
from winnow.answers import ENVELOPE_SCHEMA, answer_for
from winnow.calls import Reply, Usage
from winnow.codebook import Variable, VariableType
from winnow.exceptions import (
    AuthenticationFailedError,
    ModelSetupError,
    OutputError,
    ProviderDownError,
    ProviderError,
    ProviderTimeoutError,
    QuotaExceededError,
    RateLimitedError,
    RejectedCallError,
    UnknownModelError,
)
from winnow.prompts import RULES, Prompt, Question, build_prompt, variable_prompt
from winnow.replies import interpret

MODEL = "openai:tested"
KEY = "canary-0123456789"
DOCUMENT = "Harbour master: Ada Quill\nHarbour fee: EUR 1,250"
WARM = {"temperature": 0.15}


def prompt(document: str = DOCUMENT, name: str = "harbour_fee", kind: VariableType = "number") -> Prompt:
    categories = [{"value": "high"}] if kind == "category" else []
    variable = Variable(name=name, type=kind, instructions="What a berth costs.", categories=categories)
    return build_prompt(RULES, document, Question(variables=(variable_prompt(variable),)))


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    """Models are set up once per process, from the environment: here, anew for each test."""
    forget()
    capabilities.forget()
    yield
    forget()
    capabilities.forget()


@pytest.fixture(scope="module")
def _one_server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


@pytest.fixture
def server(_one_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> OpenAIServer:
    """A model server with fresh settings and counts, at which the environment points."""
    _one_server.reset(settings=True)
    _one_server.configure(keep_bodies=True)
    monkeypatch.setenv("OPENAI_BASE_URL", _one_server.url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return _one_server


class Plain:
    """A server that sends what it is told to, whether it makes sense or not."""

    def __init__(self) -> None:
        self.status, self.headers, self.body, self.pause = 200, {"content-type": "application/json"}, b"", 0.0
        self.received: list[bytes] = []
        plain = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                plain.received.append(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(plain.status)
                body = plain.body.replace(b"ECHO", json.dumps(DOCUMENT + str(self.headers["authorization"])).encode())
                for name, value in ({"content-length": str(len(body))} | plain.headers).items():
                    self.send_header(name, value)
                self.end_headers()
                with contextlib.suppress(OSError):
                    for piece in [body[at : at + 1] for at in range(len(body))] if plain.pause else [body]:
                        self.wfile.write(piece)
                        time.sleep(plain.pause)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Iterator[Plain]:
    server = Plain()
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


# What comes back


def test_a_reply_is_kept_whole(server: OpenAIServer) -> None:
    reply = ask(MODEL, WARM, prompt())
    logged = server.requests()[-1]

    assert answer_for(interpret(reply), "harbour_fee").values[0].value == "1250"
    assert reply.finish_reason == "stop"
    assert not reply.refusal
    assert reply.usage == Usage(
        prompt_tokens=logged["prompt_tokens"], cached_tokens=0, completion_tokens=logged["completion_tokens"]
    )
    assert 0 < (reply.seconds or 0) < 5
    assert reply.raw["content"] == reply.text
    assert reply.raw["id"]
    assert reply.raw["response_metadata"]["model_name"] == "tested"
    assert json.loads(json.dumps(reply.raw)) == reply.raw


def test_cached_tokens_are_counted(server: OpenAIServer) -> None:
    long = DOCUMENT + "\n\nThe harbour was built in stone." * 300
    first, second = ask(MODEL, WARM, prompt(long)), ask(MODEL, WARM, prompt(long, name="harbour_master", kind="text"))

    assert first.usage.cached_tokens == 0
    assert second.usage.cached_tokens == server.requests()[-1]["cached_tokens"]
    assert (second.usage.cached_tokens or 0) >= 1024


def test_tokens_that_the_provider_does_not_count_are_unknown(server: OpenAIServer) -> None:
    server.configure(script=["no_usage"])
    reply = ask(MODEL, WARM, prompt())

    assert reply.usage == Usage(prompt_tokens=None, cached_tokens=None, completion_tokens=None)
    assert interpret(reply).answers


# What goes wrong: every fault that the server knows stands in one of these tables.

# A false quote is found out when it is looked for in the document; what is wrong with one answer, when it is read.
WHOLE = {"no_usage", "invented", "missing_variable", "fenced", "prose", "tool_call_reply"}
UNUSABLE = {
    "truncated": "truncated",
    "reasoning_exhausted": "truncated",
    "length_json": "truncated",
    "extra_key": "malformed",
    "null_values": "malformed",
    "scalar_for_list": "malformed",
    "nan_confidence": "malformed",
    "huge_number": "malformed",
    "duplicate_keys": "malformed",
    "content_filter": "content_filtered",
    "refusal": "refused",
    "empty": "empty_reply",
    "empty_choices": "empty_reply",
    "malformed": "malformed",
    "wrong_shape": "malformed",
}
FAILING: dict[str, tuple[type[ProviderError], str]] = {
    "rate_limit": (RateLimitedError, "rate_limited"),
    "quota": (QuotaExceededError, "quota"),
    "server_error": (ProviderDownError, "provider_unavailable"),
    "unavailable": (ProviderDownError, "provider_unavailable"),
    "unauthorized": (AuthenticationFailedError, "authentication"),
    "context_overflow": (RejectedCallError, "too_long"),
    "context_overflow_words": (RejectedCallError, "too_long"),
    "content_filter_400": (RejectedCallError, "content_filtered"),
    "error_in_200": (ProviderDownError, "provider_unavailable"),
    "drop": (ProviderDownError, "provider_unavailable"),
    "hang": (ProviderTimeoutError, "provider_timeout"),
}


def test_the_tables_name_every_fault() -> None:
    assert WHOLE | UNUSABLE.keys() | FAILING.keys() == FAULTS


@pytest.mark.parametrize(("fault", "reason"), UNUSABLE.items())
def test_a_reply_that_is_no_answer_is_kept_with_its_reason(server: OpenAIServer, fault: str, reason: str) -> None:
    server.configure(script=[fault])
    reply = ask(MODEL, WARM, prompt())

    with pytest.raises(OutputError) as raised:
        interpret(reply)
    assert raised.value.reason == reason
    assert json.loads(json.dumps(reply.raw)) == reply.raw != {}
    assert reply.usage.prompt_tokens == server.requests()[-1]["prompt_tokens"]  # it was paid for
    assert reply.usage.completion_tokens == server.requests()[-1]["completion_tokens"]
    assert server.stats().requests == 1


@pytest.mark.parametrize(("fault", "kind", "reason"), [(fault, *expected) for fault, expected in FAILING.items()])
def test_a_call_that_fails_is_made_once_and_says_why(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch, fault: str, kind: type[ProviderError], reason: str
) -> None:
    monkeypatch.setenv("WINNOW_TIMEOUT_SECONDS", "0.5")
    server.configure(script=[fault])
    started = time.monotonic()

    with pytest.raises(kind) as raised:
        ask(MODEL, WARM, prompt())
    assert raised.value.reason == reason
    assert MODEL in str(raised.value)
    assert server.stats().requests == 1
    assert time.monotonic() - started < 3


def test_the_next_call_after_any_failure_is_answered(server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_TIMEOUT_SECONDS", "0.5")
    for fault in FAILING:
        server.configure(script=[fault])
        with pytest.raises(ProviderError):
            ask(MODEL, WARM, prompt())
        assert interpret(ask(MODEL, WARM, prompt())).answers


def test_a_reply_cut_at_the_output_limit_is_never_read(server: OpenAIServer) -> None:
    server.configure(max_output_tokens=5)

    with pytest.raises(OutputError) as raised:
        interpret(ask(MODEL, WARM, prompt()))
    assert raised.value.reason == "truncated"


def test_retry_after_is_handed_on(server: OpenAIServer) -> None:
    server.configure(script=[{"fault": "rate_limit", "retry_after": "7"}])

    with pytest.raises(RateLimitedError) as raised:
        ask(MODEL, WARM, prompt())
    assert raised.value.retry_after == 7


def test_a_server_that_is_not_there_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{port}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    with pytest.raises(ProviderDownError, match="cannot be reached"):
        ask(MODEL, WARM, prompt())


def test_a_wrong_key_stays_wrong_and_is_not_shown(server: OpenAIServer) -> None:
    server.configure(api_key="another")

    with pytest.raises(AuthenticationFailedError, match="OPENAI_API_KEY") as raised:
        ask(MODEL, WARM, prompt())
    assert KEY not in str(raised.value)


def test_a_model_that_the_provider_does_not_know_stays_unknown(server: OpenAIServer) -> None:
    server.configure(models=["another"])

    with pytest.raises(UnknownModelError, match="The model `tested` does not exist"):
        ask(MODEL, WARM, prompt())


# Replies in forms that no provider should send, and some do

CONTENT = '{"answers": []}'


def completion(**message: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": message.pop("finish", "stop")}
    return {"id": "1", "model": "tested", "choices": [choice]}


def tool_call(arguments: str) -> list[Any]:
    return [{"id": "1", "type": "function", "function": {"name": "answers", "arguments": arguments}}]


STRANGE: dict[str, tuple[Any, str | None]] = {
    "a page of a proxy": ("<html>Please log in</html>", "malformed"),
    "nothing": ("", "empty_reply"),
    "a list": ([1, 2], "malformed"),
    "a string": ('"x"', "malformed"),
    "null": ("null", "malformed"),
    "JSON cut short": ('{"id": "1", "choices": [{"mess', "truncated"),
    "an envelope without its completion": (CONTENT, "empty_reply"),
    "null for choices": ({"id": "1", "choices": None}, "empty_reply"),
    "choices that are none": ({"id": "1", "choices": ["x"]}, "empty_reply"),
    "no message": ({"id": "1", "choices": [{"index": 0, "message": None}]}, "empty_reply"),
    "no content": (completion(content=None), "empty_reply"),
    "content used up by thinking": (completion(content=None, finish="length"), "truncated"),
    "cut short in another provider's word": (completion(content=CONTENT, finish="max_tokens"), "truncated"),
    "a refusal beside content": (completion(content=CONTENT, refusal="I will not."), "refused"),
    "a tool call": (completion(content=None, tool_calls=tool_call(CONTENT), finish="tool_calls"), None),
    "half a tool call": (completion(content=None, tool_calls=tool_call('{"answ'), finish="tool_calls"), "empty_reply"),
    "two choices": ({"choices": completion(content=CONTENT)["choices"] * 2}, None),
}


@pytest.mark.parametrize(("body", "reason"), STRANGE.values(), ids=STRANGE)
@pytest.mark.parametrize("media_type", ["application/json", "text/html"])
def test_a_strange_reply_has_its_reason_too(plain: Plain, body: Any, reason: str | None, media_type: str) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    plain.body, plain.headers = text.encode(), {"content-type": media_type}
    reply = ask(MODEL, WARM, prompt())

    assert reason_of(reply) == reason
    assert json.loads(json.dumps(reply.raw)) == reply.raw != {}
    assert len(plain.received) == 1


def reason_of(reply: Reply) -> str | None:
    try:
        interpret(reply)
    except OutputError as error:
        return error.reason
    return None


def test_what_a_proxy_said_is_kept(plain: Plain) -> None:
    plain.body = b"<html>Please log in</html>"

    assert ask(MODEL, WARM, prompt()).raw == {"body": "<html>Please log in</html>"}


def test_what_came_back_before_is_not_taken_for_a_reply(plain: Plain) -> None:
    plain.body = json.dumps(completion(content=CONTENT)).encode()
    ask(MODEL, WARM, prompt())

    with pytest.raises(ModelSetupError):
        ask("openai:", WARM, prompt())
    plain.status = 500
    with pytest.raises(ProviderDownError):
        ask(MODEL, WARM, prompt())


def test_a_connection_lost_in_the_middle_of_a_reply_passes(plain: Plain) -> None:
    plain.body, plain.headers = b'{"id": "1"', {"content-type": "application/json", "content-length": "9000"}

    with pytest.raises(ProviderDownError):
        ask(MODEL, WARM, prompt())


@pytest.mark.parametrize("status", [301, 400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 529])
@pytest.mark.parametrize("body", [b"<html>ECHO</html>", b'{"error": {"message": ECHO, "code": null}}'])
def test_no_trace_of_an_error_shows_the_key_and_few_the_providers_words(plain: Plain, status: int, body: bytes) -> None:
    plain.status, plain.body = status, body

    with pytest.raises(ProviderError) as raised:
        ask(MODEL, WARM, prompt())
    shown = "".join(traceback.format_exception(raised.value)) + repr(raised.value)
    assert KEY not in shown
    assert "Quill" not in shown or status in (401, 402, 403, 404)  # about the account or the model, not the request
    assert len(plain.received) == 1


IN_PLACE_OF_ANSWERS: dict[str, tuple[Any, type[ProviderError]]] = {
    "an error": ({"error": {"message": "no"}}, ProviderDownError),
    "an error with a status": ({"error": {"message": "no", "code": 429}, "choices": None}, RateLimitedError),
    "an error with a code": ({"error": {"message": "no", "code": "insufficient_quota"}}, QuotaExceededError),
    "a broken reply": (
        {"choices": [{"index": 0, "message": {"content": ""}, "finish_reason": "error"}]},
        ProviderDownError,
    ),
}


@pytest.mark.parametrize(("body", "kind"), IN_PLACE_OF_ANSWERS.values(), ids=IN_PLACE_OF_ANSWERS)
def test_an_error_with_status_200_is_no_empty_reply(plain: Plain, body: Any, kind: type[ProviderError]) -> None:
    plain.body = json.dumps(body).encode()

    with pytest.raises(kind):
        ask(MODEL, WARM, prompt())


def test_a_mistake_of_our_own_is_raised_as_it_is(server: OpenAIServer) -> None:
    broken = Prompt(system="", document=None, question="")  # type: ignore[arg-type]

    with pytest.raises(TypeError):
        ask(MODEL, WARM, broken)


def test_a_reply_that_drips_in_keeps_no_one_longer_than_the_timeout(
    plain: Plain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINNOW_TIMEOUT_SECONDS", "0.3")
    plain.body, plain.pause = b" " * 100, 0.05  # every byte well within the timeout
    started = time.monotonic()

    with pytest.raises(ProviderTimeoutError):
        ask(MODEL, WARM, prompt())
    assert 0.3 < time.monotonic() - started < 3


def test_a_reply_that_drips_in_on_time_is_read(plain: Plain) -> None:
    plain.body, plain.pause = json.dumps(completion(content=CONTENT)).encode(), 0.001

    assert reason_of(ask(MODEL, WARM, prompt())) is None


# What is sent


def test_a_request_holds_the_prompt_the_schema_and_the_temperature_alone(server: OpenAIServer) -> None:
    asked = prompt()
    ask(MODEL, WARM, asked)

    assert server.requests()[-1]["body"] == {
        "model": "tested",
        "messages": [{"role": "system", "content": asked.system}, {"role": "user", "content": asked.user}],
        "temperature": 0.15,
        "stream": False,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answers", "strict": True, "schema": ENVELOPE_SCHEMA},
        },
    }


def test_each_type_has_its_temperature_and_all_have_one_schema(server: OpenAIServer) -> None:
    kinds = get_args(VariableType)
    for kind in kinds:
        ask(MODEL, parameters(MODEL, kind), prompt(kind=kind))
    bodies = [line["body"] for line in server.requests()]

    assert {kind: body["temperature"] for kind, body in zip(kinds, bodies, strict=True)} == TEMPERATURES
    assert all(body["response_format"] == bodies[0]["response_format"] for body in bodies)


def test_a_model_that_refuses_a_temperature_is_asked_without_it_at_once_and_from_then_on(server: OpenAIServer) -> None:
    server.configure(refuse_temperature=True)

    assert interpret(ask(MODEL, WARM, prompt())).answers
    assert [line["body"].get("temperature") for line in server.requests()] == [0.15, None]
    assert interpret(ask(MODEL, {"temperature": 0.1}, prompt())).answers
    assert [line["body"].get("temperature") for line in server.requests()] == [0.15, None, None]


def test_another_model_still_has_its_temperature(server: OpenAIServer) -> None:
    server.configure(refuse_temperature=True)
    ask(MODEL, WARM, prompt())
    server.reset()
    server.configure(refuse_temperature=False)
    ask("openai:another", WARM, prompt())

    assert [line["body"].get("temperature") for line in server.requests()] == [0.15]


def test_what_goes_wrong_without_the_temperature_is_said(server: OpenAIServer) -> None:
    server.configure(refuse_temperature=True, script=["server_error"])

    with pytest.raises(ProviderDownError):
        ask(MODEL, WARM, prompt())
    assert server.stats().requests == 2


def test_many_ask_at_once(server: OpenAIServer) -> None:
    server.configure(latency=0.2)
    documents = [f"Harbour fee: EUR {number}" for number in range(40)]
    with ThreadPoolExecutor(40) as pool:
        replies = list(pool.map(lambda document: ask(MODEL, WARM, prompt(document)), documents))
    values = [answer_for(interpret(reply), "harbour_fee").values[0].value for reply in replies]

    assert values == [str(number) for number in range(40)]
    assert server.stats().requests == 40
    assert server.stats().max_in_flight > 5


def test_a_model_is_set_up_once_however_many_ask_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    together = threading.Barrier(8)

    def go(_: int) -> None:
        together.wait()
        check_model(MODEL)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(go, range(8)))
    finally:
        sys.setswitchinterval(before)
    assert models._asker.cache_info().misses == 1


# Which model, and what it needs


def test_the_model_named_goes_before_the_one_set_and_the_baseline_comes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen_model(None) == chosen_model("") == chosen_model("  ") == BASELINE
    monkeypatch.setenv("WINNOW_MODEL", "openai:set")
    forget()
    assert chosen_model(None) == chosen_model(" ") == "openai:set"
    assert chosen_model(" openai:named ") == "openai:named"


def test_the_baselines_parameters_are_its_version() -> None:
    assert parameters(BASELINE, "date") == {"version": baseline.VERSION}


WRONG = {
    "no provider": ("gpt-4.1-mini", ["'gpt-4.1-mini' has no provider", "openai:gpt-4.1-mini", "`baseline`"]),
    "no name": ("openai:", ["'openai:' has no name", "provider:name"]),
    "neither": (":", ["provider:name"]),
    "nothing": ("", ["provider:name"]),
    "unknown provider": ("opnai:gpt-4.1", ["'opnai:gpt-4.1'", "not known", "known are", " openai,"]),
    "another spelling": ("OpenAI:gpt-4.1", ["not known", " openai,"]),
    "no package": ("bedrock:nova", ["not installed", "`pip install langchain-aws`"]),
    "no key": ("openai:gpt-4.1", ["OPENAI_API_KEY", ".env", "`--model baseline`"]),
    "no key of another provider": ("azure_openai:gpt-4.1", ["AZURE_OPENAI_API_KEY"]),
}


@pytest.mark.parametrize(("model", "words"), WRONG.values(), ids=WRONG)
def test_a_model_that_cannot_be_set_up_says_what_to_do(model: str, words: list[str]) -> None:
    with pytest.raises(ModelSetupError) as raised:
        check_model(model)
    assert [word for word in words if word not in str(raised.value)] == []
    with pytest.raises(ModelSetupError):
        ask(model, WARM, prompt())


def test_the_key_is_called_what_the_providers_package_calls_it() -> None:
    said = ValueError("API key required. Provide api_key or set GOOGLE_API_KEY/GEMINI_API_KEY.")

    assert "set GOOGLE_API_KEY in" in chat_models.setup_message("google_genai:gemini", said)
    assert "set MISTRALAI_API_KEY in" in chat_models.setup_message("mistralai:large", ValueError("no api_key"))


def test_a_key_that_is_set_later_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelSetupError):
        check_model(MODEL)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    check_model(MODEL)


def test_setting_a_model_up_calls_nobody(server: OpenAIServer) -> None:
    check_model(MODEL)

    assert server.stats().requests == 0


def test_the_baseline_needs_neither_key_nor_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the baseline opened a network connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    check_model(BASELINE)
    reply = ask(BASELINE, parameters(BASELINE, "number"), prompt())

    assert answer_for(interpret(reply), "harbour_fee").values[0].value == "1250"
    assert reply.usage == Usage(prompt_tokens=0, cached_tokens=None, completion_tokens=0)
    assert ask(BASELINE, parameters(BASELINE, "number"), prompt()).text == reply.text
