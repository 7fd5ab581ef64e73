"""A ledger in memory, and makers of what is asked through it."""

import json
from collections.abc import Callable
from typing import Any

from winnow.asking import Asked, Interview, Request, Source
from winnow.calls import Reply
from winnow.chunks import Chunk
from winnow.codebook import Variable
from winnow.documents import Piece, assemble
from winnow.grounding import Grounder
from winnow.prompts import Question, build_prompt, variable_prompt

Json = dict[str, Any]
Rule = Callable[[Request, str], Reply]
"""What a model replies to a request about a text. It raises what the provider raises."""


class MemoryAsker:
    """Gives the same reply to the same request, until it is rejected. `bought` are the requests that the rule saw."""

    def __init__(self, text: str, rule: Rule) -> None:
        self.text, self.rule = text, rule
        self.bought: list[Request] = []
        self.rejected: list[tuple[Request, str]] = []
        self._replies: dict[str, Reply] = {}

    def ask(self, request: Request) -> Reply:
        key = self.prompt(request)
        if key not in self._replies:
            self.bought.append(request)
            self._replies[key] = self.rule(request, self.text[slice(*request.span)])
        return self._replies[key]

    def reject(self, request: Request, reason: str) -> None:
        assert self._replies.pop(self.prompt(request), None), "nothing was bought"
        self.rejected.append((request, reason))

    def prompt(self, request: Request) -> str:
        return build_prompt("the rules", self.text[slice(*request.span)], request.question).user

    @property
    def names(self) -> list[list[str]]:
        """The variables of each request that was bought."""
        return [names_of(request) for request in self.bought]

    @property
    def spans(self) -> list[tuple[int, int]]:
        return [request.span for request in self.bought]


def names_of(request: Request) -> list[str]:
    return [one.variable.name for one in request.asked]


def variable(name: str = "fee", kind: str = "text", **more: Any) -> Variable:
    return Variable.model_validate({"name": name, "type": kind, "instructions": f"The {name}.", **more})


def asked(*variables: str | Variable) -> tuple[Asked, ...]:
    """Variables as a request asks them; of a text variable, its name is enough."""
    made = [variable(given) if isinstance(given, str) else given for given in variables]
    return tuple(Asked(variable=one, prompt=variable_prompt(one)) for one in made)


def answer(name: str, *values: str | tuple[str, str], status: str | None = None, confidence: float = 0.9) -> Json:
    """An answer as a model writes it; a value without evidence is its own."""
    pairs = [(value, value) if isinstance(value, str) else value for value in values]
    return {
        "variable": name,
        "status": status or ("found" if values else "not_stated"),
        "values": [{"value": value, "evidence": evidence} for value, evidence in pairs],
        "confidence": confidence,
    }


def reply(*answers: Json, **more: Any) -> Reply:
    return told(json.dumps({"answers": answers}), **more)


def told(text: str, **more: Any) -> Reply:
    return Reply(**{"raw": {}, "text": text, "finish_reason": "stop", **more})


def cut(*answers: Json, characters: int) -> Reply:
    """A reply that was cut short at the output limit."""
    whole = reply(*answers)
    return told(whole.text[:characters], finish_reason="length") if len(whole.text) > characters else whole


def source(*paragraphs: str) -> Source:
    parsed = assemble(
        [Piece(kind="paragraph", text=text) for text in paragraphs], media_type="text/plain", parser="tested"
    )
    return Source(text=parsed.text, blocks=parsed.blocks, grounder=Grounder(parsed.text, parsed.blocks))


def interview(about: Source, rule: Rule, **context: Any) -> tuple[Interview, MemoryAsker]:
    """Questions about a document, and the ledger that they go through."""
    asker = MemoryAsker(about.text, rule)
    return Interview(source=about, asker=asker, context=Question(variables=(), **context)), asker


def whole(about: Source) -> tuple[Chunk, ...]:
    """A document as one chunk."""
    return (Chunk(0, len(about.text), 1, 1),)


def per_block(about: Source) -> tuple[Chunk, ...]:
    """A document with a chunk for each of its blocks."""
    count = len(about.blocks)
    return tuple(Chunk(block.start, block.end, number, count) for number, block in enumerate(about.blocks, start=1))
