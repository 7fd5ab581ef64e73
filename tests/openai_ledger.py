"""What the test model service (see openai_server.py) counts: requests, tokens, and prefixes that a provider caches."""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import dataclass
from itertools import takewhile

from tests.openai_prompts import TOKEN, Call
from tests.openai_settings import Json

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
        """Reads on, to the same chain however a prompt was cut: a word at the end may go on, so it stays open."""
        text, blocks, start = self.rest + segment, list(self.blocks), 0
        while (match := BLOCK.match(text, start)) and match.end() < len(text):
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
        line |= {"entity": call.prompt.entity_name if call.prompt else None}
        line |= {name: getattr(call.prompt, name, None) for name in ("known", "correction")}
        if keep_body:
            line["body"] = call.body
        self.log.append(line)
        return line

    def usage(self, call: Call, text: str, reasoning: int, account: bool) -> tuple[Json, Chain | None]:
        """The usage of a reply, by what was cached when its request arrived."""
        chain, cached = None, 0
        if account:
            chain = self._cache.read(call.segments())
            prompt, cached = chain.tokens, self._cache.cached_tokens(chain)
        else:
            prompt = sum(map(len, call.texts)) // 4
        output = len(TOKEN.findall(text)) + reasoning
        usage: Json = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}
        usage["completion_tokens_details"] = {"reasoning_tokens": reasoning}
        return usage | {"prompt_tokens_details": {"cached_tokens": cached}}, chain

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
        if line["status"] != 200 or line["fault"] == "error_in_200":
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
