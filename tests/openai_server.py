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
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, fields
from itertools import takewhile
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import httpx
import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from tests.openai_replies import ERRORS, TOKEN, Call, Completion, Json, Replies, Reply, Settings, error

BLOCK_TOKENS, LEAST_BLOCKS = 128, 8  # a provider caches prefixes of 1,024, 1,152, 1,280 ... tokens
# atomic groups: without them the end of a text is retried with every other way to cut its words
BLOCK = re.compile(r"(?>(?>\s*)(?>\w{1,6}|[^\w\s])){128}")


@dataclass(frozen=True, slots=True)
class Chain:
    """A prompt read so far; each block's hash covers all before it, so equal hashes are equal prefixes."""

    key: int  # hash of everything read
    blocks: tuple[int, ...] = ()
    rest: str = ""
    rest_tokens: int = 0

    @property
    def tokens(self) -> int:
        return len(self.blocks) * BLOCK_TOKENS + self.rest_tokens

    def extend(self, key: int, segment: str) -> Chain:
        text, blocks, start = f"{self.rest}\n{segment}", list(self.blocks), 0
        while match := BLOCK.match(text, start):
            blocks.append(hash((blocks[-1] if blocks else 0, match[0])))
            start = match.end()
        return Chain(key, tuple(blocks), text[start:], len(TOKEN.findall(text, start)))


class PrefixCache:
    """The provider's prompt cache; the chains of segments seen before are not read again."""

    def __init__(self) -> None:
        self._sent: set[int] = set()
        self._chains: dict[int, Chain] = {}

    def read(self, segments: list[str]) -> Chain:
        chain = Chain(0)
        if len(self._chains) > 10_000:
            self._chains.clear()
        for segment in segments:
            key = hash((chain.key, segment))
            if key not in self._chains:
                self._chains[key] = chain.extend(key, segment)
            chain = self._chains[key]
        return chain

    def cached_tokens(self, chain: Chain) -> int:
        hits = sum(1 for _ in takewhile(self._sent.__contains__, chain.blocks[LEAST_BLOCKS - 1 :]))
        return (LEAST_BLOCKS - 1 + hits) * BLOCK_TOKENS if hits else 0

    def remember(self, chain: Chain) -> None:
        self._sent.update(chain.blocks[LEAST_BLOCKS - 1 :])


class Ledger:
    """Counts requests and tokens; a reset puts a new one in place, so requests under way stay out of it."""

    def __init__(self) -> None:
        self.stats: Counter[str] = Counter()
        self.by_status: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.variables: Counter[str] = Counter()
        self.times: dict[str, float] = {}
        self.log: list[Json] = []
        self._received: Counter[str] = Counter()
        self._in_flight: Counter[str] = Counter()
        self._answered: set[str] = set()
        self._cache = PrefixCache()

    def arrive(self, call: Call, keep_body: bool) -> Json:
        """Opens the request's line in the log."""
        duplicate = call.digest in self._answered or self._in_flight[call.digest] > 0
        names = [str(variable["variable"]) for variable in call.prompt.variables] if call.prompt else []
        self._received[call.digest] += 1
        self._in_flight[call.digest] += 1
        self.variables.update(names)
        self.stats["requests"] += 1
        self.stats["duplicates"] += duplicate
        self.stats["in_flight"] += 1
        self.stats["max_in_flight"] = max(self.stats["max_in_flight"], self.stats["in_flight"])
        self._stamp("request")
        line: Json = {"number": self.stats["requests"], "at": time.monotonic(), "seconds": None}
        line |= {"status": None, "fault": None, "duplicate": duplicate, "digest": call.digest}
        line |= {"attempt": self._received[call.digest], "model": (call.body or {}).get("model")}
        line |= {"document": call.prompt.id if call.prompt else None, "variables": names}
        if keep_body:
            line["body"] = call.body
        self.log.append(line)
        return line

    def usage(self, call: Call, text: str, account: bool) -> tuple[Json, Chain | None]:
        """The usage of a reply, by what was cached when its request arrived."""
        chain, cached = None, 0
        if account:
            chain = self._cache.read(self._segments(call))
            prompt, cached = chain.tokens, self._cache.cached_tokens(chain)
        else:
            prompt = sum(map(len, call.texts)) // 4
        output = len(TOKEN.findall(text))
        usage: Json = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}
        return usage | {"prompt_tokens_details": {"cached_tokens": cached}}, chain

    @staticmethod
    def _segments(call: Call) -> list[str]:
        """Schema, rules, document, variables: cut where prompts that start alike begin to differ."""
        body = call.body or {}
        segments = [orjson.dumps([body.get("model"), body.get("response_format")]).decode()]
        for text in call.texts:
            cut = text.rfind("\n\n<variables ")
            segments += [text[:cut], text[cut:]] if cut > 0 else [text]
        return segments

    def leave(self, call: Call, line: Json, usage: Json | None, chain: Chain | None) -> None:
        """Closes the line: the reply was sent, or the connection closed (status 0) or lost (None)."""
        self._in_flight[call.digest] -= 1
        self.stats["in_flight"] -= 1
        self.by_status[str(line["status"] or 0)] += 1
        if line["fault"]:
            self.faults[line["fault"]] += 1
        line["seconds"] = time.monotonic() - line["at"]
        if line["status"]:
            self._stamp("reply")
        if line["status"] != 200:
            return
        self._answered.add(call.digest)
        if chain:
            self._cache.remember(chain)
        self.stats["answered"] += 1
        if usage:
            line |= {"prompt_tokens": usage["prompt_tokens"], "completion_tokens": usage["completion_tokens"]}
            line |= usage["prompt_tokens_details"]
            for name in ("prompt_tokens", "cached_tokens", "completion_tokens"):
                self.stats[name] += line[name]

    def _stamp(self, event: str) -> None:
        now = {f"last_{event}_at": time.monotonic(), f"last_{event}_wall": time.time()}
        if not self.times:
            self.times = {name.replace("last", "first"): at for name, at in now.items()}
        self.times |= now

    def summary(self) -> Json:
        groups = {"by_status": self.by_status, "faults": self.faults, "variables": self.variables}
        return {**self.stats, **self.times, **groups}


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
                usage, chain = ledger.usage(call, reply.text, settings.account_tokens)
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


@dataclass(frozen=True)
class Stats:
    """What the server has counted. *_at is time.monotonic(), comparable between processes on Linux; *_wall
    is time.time(). Tokens are those of replies of status 200; status 0 is a connection without a reply."""

    requests: int = 0
    answered: int = 0  # replies of status 200, also those to clients that no longer waited
    duplicates: int = 0  # the same body as a request answered before or still under way
    in_flight: int = 0
    max_in_flight: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    by_status: dict[int, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    variables: dict[str, int] = field(default_factory=dict)  # how often each was asked for
    first_request_at: float | None = None
    first_request_wall: float | None = None
    last_request_at: float | None = None
    last_request_wall: float | None = None
    last_reply_at: float | None = None
    last_reply_wall: float | None = None


class OpenAIServer:
    """Runs the server in a process of its own, which ends with this one; keywords are Settings fields."""

    def __init__(self, port: int = 0, **settings: Any) -> None:
        command = [sys.executable, "-m", "tests.openai_server", "--port", str(port), "--die-with-parent"]
        root = Path(__file__).resolve().parents[1]
        # a proxy of the environment must not see what stays on this machine
        self._http = httpx.Client(trust_env=False, timeout=30)
        self._process = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            line = cast(Any, self._process.stdout).readline()
            if not line:
                raise RuntimeError(f"the server did not start, status {self._process.wait()}")
            self.url: str = json.loads(line)["url"]
            self.configure(**settings)
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def configure(self, **settings: Any) -> None:
        """Changes settings; those not given stay. A truth file is a path."""
        if isinstance(settings.get("truth"), str | Path):
            settings["truth"] = str(Path(settings["truth"]).resolve())
        self._control("POST", "configure", settings)

    def reset(self, settings: bool = False) -> None:
        """Forgets what was counted and cached, and with settings=True goes back to the default settings."""
        self._control("POST", "reset", {"settings": settings})

    def stats(self) -> Stats:
        counted = self._control("GET", "stats")
        counted["by_status"] = {int(status): count for status, count in counted["by_status"].items()}
        return Stats(**counted)

    def requests(self) -> list[Json]:
        """The log in order of arrival; with keep_bodies each line has its request's body."""
        return cast(list[Json], self._control("GET", "requests"))

    def stop(self) -> None:
        """Ends the server at once, by the end of its input, whatever is still under way."""
        self._http.close()
        try:
            self._process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def _control(self, method: str, name: str, body: Json | None = None) -> Any:
        response = self._http.request(method, self.url.removesuffix("v1") + f"control/{name}", json=body)
        if response.status_code == 400:
            raise ValueError(response.json()["error"]["message"])
        return response.raise_for_status().json()


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
