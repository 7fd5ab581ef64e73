"""A small server of Anthropic's Messages API for tests, in a thread of this process.

It answers a prompt of the project's form with a fixed value for each variable asked, counts prompts, and caches
prefixes that end at a block marked with `cache_control`. `script` holds a fault for each of the next requests.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import AsyncIterator
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

Json = dict[str, Any]

# name: status, type, message
ERRORS: dict[str, tuple[int, str, str]] = {
    "too_long": (400, "invalid_request_error", "prompt is too long: 250000 tokens > 200000 maximum"),
    "credit": (400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API."),
    "filtered": (400, "invalid_request_error", "Output blocked by content filtering policy"),
    "wrong": (400, "invalid_request_error", "messages.0.content: Quill is wrong"),
    "key": (401, "authentication_error", "invalid x-api-key"),
    "permission": (403, "permission_error", "Your account may not use this."),
    "model": (404, "not_found_error", "model: claude-test"),
    "too_large": (413, "request_too_large", "Request exceeds the maximum size"),
    "rate": (429, "rate_limit_error", "This request would exceed your rate limit."),
    "failure": (500, "api_error", "Internal server error"),
    "overloaded": (529, "overloaded_error", "Overloaded"),
    "in_200": (200, "overloaded_error", "Overloaded"),
}


class AnthropicServer:
    """Runs the server; `url` is for ANTHROPIC_BASE_URL."""

    def __init__(self) -> None:
        self.requests: list[Json] = []
        self.script: list[str] = []
        self.refused: set[str] = set()  # fields of the request's body
        self._cached: set[str] = set()
        app = Starlette(routes=[Route("/v1/messages", self._messages, methods=["POST"])])
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", ws="none"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]})

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    async def _messages(self, request: Request) -> Response:
        body = json.loads(await request.body())
        self.requests.append(body)
        fault = self.script.pop(0) if self.script else None
        refused = next((name for name in self.refused if name in body), None)
        if refused:
            return self._error(400, "invalid_request_error", f"{refused}: Extra inputs are not permitted")
        if fault in ERRORS:
            return self._error(*ERRORS[fault])
        if fault == "drip":
            return StreamingResponse(_drip(), media_type="application/json")
        if fault == "page":
            return Response("<html>Please log in</html>", media_type="text/html")
        return JSONResponse(self._message(body, fault))

    @staticmethod
    def _error(status: int, kind: str, message: str) -> Response:
        body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}
        return JSONResponse(body, status, {"retry-after": "7"} if status == 429 else {})

    def _message(self, body: Json, fault: str | None) -> Json:
        envelope = _answers(body)
        text = json.dumps(envelope)
        content: list[Json] = [{"type": "text", "text": text}]
        stop = {"cut": "max_tokens", "refusal": "refusal"}.get(fault or "", "end_turn")
        if body.get("tools"):
            name = body["tools"][0]["name"]
            content, stop = [{"type": "tool_use", "id": "toolu_1", "name": name, "input": envelope}], "tool_use"
        if fault == "cut":
            content = [{"type": "text", "text": text[: len(text) // 2]}]
        elif fault in ("refusal", "empty"):
            content = []
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"]}
        return message | {"content": content, "stop_reason": stop, "stop_sequence": None, "usage": self._usage(body)}

    def _usage(self, body: Json) -> Json:
        """Every four characters are a token; what stands up to a mark is written to the cache, or read from it."""
        prefix, rest, marked = json.dumps([body.get("tools"), body.get("system")]), "", False
        for block in reversed(body["messages"][-1]["content"]):
            marked = marked or "cache_control" in block
            if marked:
                prefix += block["text"]
            else:
                rest += block["text"]
        known = prefix in self._cached
        self._cached.add(prefix)
        read, written = (len(prefix) // 4, 0) if known else (0, len(prefix) // 4)
        return {
            "input_tokens": len(rest) // 4,
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": written,
            "output_tokens": 20,
        }


async def _drip() -> AsyncIterator[bytes]:
    for _ in range(100):
        yield b" "
        await asyncio.sleep(0.02)


def _answers(body: Json) -> Json:
    text = "".join(block["text"] for block in body["messages"][-1]["content"])
    names = re.findall(r'"variable": "(\w+)"', text)
    values = [{"value": "1250", "evidence": "Harbour fee: EUR 1,250"}]
    return {"answers": [{"variable": name, "status": "found", "values": values, "confidence": 0.9} for name in names]}
