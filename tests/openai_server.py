"""An OpenAI-compatible server for tests and benchmarks: `python -m tests.openai_server --latency 0.3`.

A real process, so that clients, timeouts and lost connections behave as with a provider. It prints its URL
as a line of JSON once it accepts connections. `with OpenAIServer(latency=0.3) as server` runs one.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import sys
import threading
from dataclasses import fields
from typing import Any, ClassVar

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from tests.openai_client import OpenAIServer, Stats
from tests.openai_ledger import Ledger
from tests.openai_prompts import Call
from tests.openai_replies import Completion, Replies
from tests.openai_settings import ERRORS, Reply, Settings, error

__all__ = ["OpenAIServer", "Stats"]


class Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """Keeps each connection's transport, which ASGI does not hand over, so that a fault can close it."""

    transports: ClassVar[dict[Any, asyncio.Transport]] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.peer = transport.get_extra_info("peername")
        self.transports[self.peer] = transport
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transports.pop(self.peer, None)
        super().connection_lost(exc)


def respond(reply: Reply, number: int = 0) -> Response:
    headers = {"x-request-id": f"req_{number}", **reply.headers}
    return Response(reply.body, reply.status, headers, "application/json")


def respond_json(value: Any, status: int = 200) -> Response:
    return respond(Reply(status, orjson.dumps(value)))


class Service:
    """The endpoints. Chat completions is a bare ASGI application, to know when its reply has been sent."""

    def __init__(self) -> None:
        self.replies = Replies()
        self.ledger = Ledger()

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self, methods=["POST"]),
                Route("/v1/models", self.models),
                Route("/control/stats", self.stats),
                Route("/control/requests", self.requests),
                Route("/control/configure", self.configure, methods=["POST"]),
                Route("/control/reset", self.reset, methods=["POST"]),
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            raw = await request.body()
        except ClientDisconnect:
            return
        settings, ledger = self.replies.settings, self.ledger
        call = Call.read(raw, request.headers.get("authorization", ""))
        line = ledger.arrive(call, settings.keep_bodies)
        usage, chain = None, None
        try:
            reply, line["fault"] = self.replies.decide(call, line["attempt"])
            if isinstance(reply, Completion):
                usage, chain = ledger.usage(call, reply.text, reply.reasoning, settings.account_tokens)
                reply = reply.reply(line["model"], line["number"], usage)
            if reply.status == 0:
                await self._close(scope, receive, reply.delay)
            else:
                await asyncio.sleep(reply.delay)
                await respond(reply, line["number"])(scope, receive, send)
            line["status"] = reply.status
        finally:
            ledger.leave(call, line, usage, chain)

    @staticmethod
    async def _close(scope: Scope, receive: Receive, delay: float) -> None:
        """Closes the connection after the delay, or stops waiting when the client has gone away."""

        async def disconnected() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        try:
            await asyncio.wait_for(disconnected(), delay)
        except TimeoutError:
            transport = Protocol.transports.get(tuple(scope["client"]))
            if transport:
                transport.abort()
                await disconnected()

    async def models(self, request: Request) -> Response:
        if not self.replies.authorized(request.headers.get("authorization", "")):
            return respond(error(*ERRORS["unauthorized"]))
        models = self.replies.settings.models
        names = ["test-model"] if models is None else models
        rows = [{"id": name, "object": "model", "created": 0, "owned_by": "tests"} for name in names]
        return respond_json({"object": "list", "data": rows})

    async def stats(self, request: Request) -> Response:
        return respond_json(self.ledger.summary())

    async def requests(self, request: Request) -> Response:
        return respond_json(self.ledger.log)

    async def configure(self, request: Request) -> Response:
        try:
            self.replies.configure(orjson.loads(await request.body()))
        except (TypeError, ValueError, OSError) as problem:
            return respond_json({"error": {"message": str(problem)}}, 400)
        return respond_json({})

    async def reset(self, request: Request) -> Response:
        self.ledger = Ledger()
        if orjson.loads(await request.body() or b"{}").get("settings"):
            self.replies = Replies()
        return respond_json({})


class Server(uvicorn.Server):
    async def startup(self, sockets: list[Any] | None = None) -> None:
        await super().startup(sockets)
        host, port = self.servers[0].sockets[0].getsockname()
        gc.freeze()  # what is loaded by now never goes away
        print(json.dumps({"url": f"http://{host}:{port}/v1"}), flush=True)


def setting(text: str) -> Any:
    """JSON, or text as it is."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--die-with-parent", action="store_true", help="exit when standard input ends")
    for item in fields(Settings):
        option = f"--{item.name.replace('_', '-')}"
        parser.add_argument(option, nargs="?", const=True, type=setting, default=argparse.SUPPRESS)
    options = vars(parser.parse_args())
    port, dies = options.pop("port"), options.pop("die_with_parent")
    service = Service()
    service.replies.configure(options)
    if dies:
        threading.Thread(target=lambda: (sys.stdin.buffer.read(), os._exit(0)), daemon=True).start()
    config = uvicorn.Config(
        service.app(), host="127.0.0.1", port=port, http=Protocol, ws="none", lifespan="off",
        access_log=False, log_level="warning", proxy_headers=False, server_header=False,
        backlog=4096, timeout_keep_alive=120, timeout_graceful_shutdown=1,
    )  # fmt: skip
    Server(config).run()


if __name__ == "__main__":
    main()
