"""The asking: which requests a question becomes, and what is asked again when a reply is not whole.

A procedure over an `Asker`, which keeps the ledger: it gives the stored reply to a request that was answered before.
So the procedure can be run again from its start after any interruption, and buys nothing twice.

A reply cut short is never an answer. The work is split and asked again: fewer variables first, then less text; a list
goes on behind its last entity. What cannot be split any further is left as unread, with its reason.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from winnow.answers import Envelope, answer_for
from winnow.calls import Reply
from winnow.checking import Part, Span
from winnow.chunks import Chunk, halves
from winnow.codebook import Variable
from winnow.documents import Block
from winnow.exceptions import OutputError, RejectedCallError
from winnow.grounding import Grounder
from winnow.prompts import Correction, Question
from winnow.replies import interpret

# What a smaller request may not suffer from. Refusals are in it for groups: one variable may spoil the others' answers.
_SPLIT_VARIABLES = {
    "truncated", "malformed", "empty_reply", "missing_answer", "refused", "content_filtered", "too_long"
}  # fmt: skip
SPLIT_TEXT = {"truncated", "too_long"}
MOST_HALVINGS = 5
"""How often the text is halved for a cell: a model that never comes to an end is not asked about every sentence."""
ASK_AGAIN = {"malformed", "empty_reply", "missing_answer"}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A variable as a request asks it."""

    variable: Variable
    prompt: str


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request to be: what is asked about which stretch of the document."""

    span: Span
    asked: tuple[Asked, ...]
    question: Question


class Asker(Protocol):
    """Buys replies, or takes them from the ledger."""

    def ask(self, request: Request) -> Reply:
        """The reply to a request.

        Raises:
            ProviderError: there is none.
            JobStoppedError: no call may start any more.
        """
        ...

    def reject(self, request: Request, reason: str) -> None:
        """Note that a reply is no answer, and nothing more is made of it: a later run may buy another."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)  # the same object or not: to compare whole texts would take its time
class Source:
    """A document as it is asked about."""

    text: str
    blocks: Sequence[Block]
    grounder: Grounder


@dataclass(frozen=True, kw_only=True)
class Interview:
    """Questions about one document."""

    source: Source
    asker: Asker
    context: Question  # entity and known values; its variables are left empty
    # Over threads, where there are any.
    spread: Callable[[Callable[[Chunk], Any], Iterable[Chunk]], Iterable[Any]] = map

    def answers(self, chunks: Sequence[Chunk], asked: Sequence[Asked]) -> dict[str, list[Part]]:
        """What the parts of the document say about each variable, by the variable's name, in the document's order."""
        told = self.spread(lambda chunk: list(self._about(chunk, tuple(asked))), chunks)
        parts: dict[str, list[Part]] = {one.variable.name: [] for one in asked}
        for one in (one for some in told for one in some):
            parts[one.variable].append(one.part)
        return parts

    def again(self, part: Part, asked: Asked, corrections: Sequence[Correction]) -> Part:
        """Ask a variable about a part once more, with what was wrong. The part as it was, if that brings nothing."""
        context = replace(self.context, correction=tuple(corrections), part=part.part)
        try:
            envelope, reply = read(self.asker, self._request(part.span, (asked,), context))
            answer = answer_for(envelope, asked.variable.name)
        except (OutputError, RejectedCallError):
            return part
        return replace(part, answer=answer, probability=reply.probability)

    def _about(self, chunk: Chunk, asked: tuple[Asked, ...], halvings: int = MOST_HALVINGS) -> Iterator["Told"]:
        request = self.request(chunk, (chunk.start, chunk.end), asked)
        try:
            envelope, reply = read(self.asker, request)
        except (OutputError, RejectedCallError) as error:
            yield from self._split(chunk, request, error, halvings)
            return
        missing = []
        for one in asked:
            try:
                answer = answer_for(envelope, one.variable.name)
            except OutputError:
                missing.append(one)
            else:
                part = Part(span=request.span, answer=answer, probability=reply.probability, part=request.question.part)
                yield Told(one.variable.name, part)
        if missing:  # fewer than were asked, as the reply answers something: they are asked for alone
            yield from self._about(chunk, tuple(missing), halvings)

    def _split(
        self, chunk: Chunk, request: Request, error: OutputError | RejectedCallError, halvings: int
    ) -> Iterator["Told"]:
        """Ask for less at once: half of the variables, or half of the text."""
        asked, middle = request.asked, len(request.asked) // 2
        if middle and error.reason in _SPLIT_VARIABLES:
            yield from self._about(chunk, asked[:middle], halvings)
            yield from self._about(chunk, asked[middle:], halvings)
        elif halvings and error.reason in SPLIT_TEXT and (two := self.halved(chunk, request.span)):
            for half in two:
                yield from self._about(half, asked, halvings - 1)
        else:
            self.give_up(request, error)
            for one in asked:
                yield Told(one.variable.name, Part(span=request.span, error=error))

    def halved(self, chunk: Chunk, span: Span) -> tuple[Chunk, Chunk] | None:
        """A stretch of a chunk as two smaller chunks; None where it is too short."""
        two = halves(self.source.text, self.source.blocks, *span)
        if two is None:
            return None
        first, second = two
        of = chunk.of * 2
        return Chunk(*first, chunk.number * 2 - 1, of), Chunk(*second, chunk.number * 2, of)

    def give_up(self, request: Request, error: OutputError | RejectedCallError) -> None:
        """Nothing more is made of a reply: a later run may ask again."""
        if isinstance(error, OutputError):
            self.asker.reject(request, error.reason)

    def request(self, chunk: Chunk, span: Span, asked: Sequence[Asked]) -> Request:
        """A request about a stretch of a chunk."""
        part = (chunk.number, chunk.of) if chunk.of > 1 else None
        return self._request(span, asked, replace(self.context, part=part))

    def _request(self, span: Span, asked: Sequence[Asked], context: Question) -> Request:
        question = replace(context, variables=tuple(one.prompt for one in asked))
        return Request(span=span, asked=tuple(asked), question=question)


@dataclass(frozen=True)
class Told:
    """What a part of the document says about a variable."""

    variable: str
    part: Part


def read(asker: Asker, request: Request) -> tuple[Envelope, Reply]:
    """Ask, and ask once more where the reply cannot be read: with the reason, so that it can be mended.

    Returns:
        The reply, with the envelope in it, which answers at least one of the variables.

    Raises:
        OutputError: the reply is no answer.
        RejectedCallError: the provider refused the request.
    """
    try:
        return _envelope(asker.ask(request), request)
    except OutputError as error:
        if error.reason not in ASK_AGAIN:
            raise
        spoiled = tuple(
            Correction(variable=one.variable.name, answer=None, problem=str(error)) for one in request.asked
        )
    corrections = (*request.question.correction, *spoiled)
    again = replace(request, question=replace(request.question, correction=corrections))
    return _envelope(asker.ask(again), again)


def _envelope(reply: Reply, request: Request) -> tuple[Envelope, Reply]:
    envelope = interpret(reply)
    problems = []
    for one in request.asked:
        try:
            answer_for(envelope, one.variable.name)
        except OutputError as error:
            problems.append(error)
    if len(problems) == len(request.asked):
        raise problems[0]
    return envelope, reply
