"""Ollama's models, over real connections to what speaks its protocol."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

pytest.importorskip("langchain_ollama", reason="langchain-ollama is not installed: pip install langchain-ollama")

from tasks import capabilities
from tasks.models import ask
from tests.conftest import forget
from winnow.answers import ENVELOPE_SCHEMA
from winnow.calls import Usage
from winnow.exceptions import OutputError, ProviderDownError, ProviderError, ProviderTimeoutError, UnknownModelError
from winnow.prompts import Prompt
from winnow.replies import interpret

MODEL = "ollama:small"
WARM = {"temperature": 0.15}
PROMPT = Prompt(system="rules", document="document ", question="question")


class Ollama:
    """Answers every chat with the same lines."""

    def __init__(self) -> None:
        self.status, self.done, self.pause = 200, {"done_reason": "stop"}, 0.0
        self.received: list[dict[str, Any]] = []
        ollama = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                ollama.received.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(ollama.status)
                self.send_header("content-type", "application/x-ndjson")
                self.end_headers()
                try:
                    for line in ollama.lines():
                        self.wfile.write(json.dumps(line).encode() + b"\n")
                        time.sleep(ollama.pause)
                except OSError:
                    pass  # the client has gone away

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def lines(self) -> Iterator[dict[str, Any]]:
        if self.status != 200:
            yield {"error": "model 'small' not found"}
            return
        at = {"model": "small", "created_at": "2026-01-01T00:00:00Z"}
        for piece in ('{"answers"', ": [", "]}"):
            yield at | {"message": {"role": "assistant", "content": piece}, "done": False}
        end = {"message": {"role": "assistant", "content": ""}, "done": True}
        yield at | end | {"prompt_eval_count": 11, "eval_count": 5} | self.done


@pytest.fixture
def ollama(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ollama]:
    server = Ollama()
    monkeypatch.setenv("OLLAMA_HOST", server.url)
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    forget()
    capabilities.forget()
    yield server
    forget()
    server.http.shutdown()
    server.http.server_close()
    thread.join()


def test_the_answer_comes_back_and_the_schema_and_the_room_for_a_document_are_sent(ollama: Ollama) -> None:
    reply = ask(MODEL, WARM, PROMPT, cache_key="k")
    sent = ollama.received[0]

    assert interpret(reply).answers == ()
    assert reply.usage == Usage(prompt_tokens=11, cached_tokens=None, completion_tokens=5)
    assert [message["content"] for message in sent["messages"]] == ["rules", "document question"]
    assert sent["format"]["properties"] == ENVELOPE_SCHEMA["properties"]
    assert sent["options"]["num_ctx"] == 16_384  # it would cut a longer prompt without a word
    assert sent["options"]["temperature"] == 0.15


def test_a_reply_cut_short_is_known(ollama: Ollama) -> None:
    ollama.done = {"done_reason": "length"}

    with pytest.raises(OutputError) as raised:
        interpret(ask(MODEL, WARM, PROMPT))
    assert raised.value.reason == "truncated"


@pytest.mark.parametrize(("status", "kind"), [(404, UnknownModelError), (500, ProviderDownError)])
def test_a_call_that_fails_says_why(ollama: Ollama, status: int, kind: type[ProviderError]) -> None:
    ollama.status = status

    with pytest.raises(kind):
        ask(MODEL, WARM, PROMPT)
    assert len(ollama.received) == 1


def test_a_server_that_is_not_there_is_down(ollama: Ollama, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:9")

    with pytest.raises(ProviderDownError):
        ask(MODEL, WARM, PROMPT)


def test_a_reply_that_drips_in_keeps_no_one_longer_than_the_timeout(
    ollama: Ollama, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINNOW_TIMEOUT_SECONDS", "0.3")
    ollama.pause = 0.2

    with pytest.raises(ProviderTimeoutError):
        ask(MODEL, WARM, PROMPT)
