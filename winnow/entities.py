"""Rows that are entities: the list of a document's entities, who they are, and whether the list is complete.

The list is made part by part. A reply that was cut short is not lost: its whole entries stand, and the next request
begins at the line of the last of them. Entries that name the same entity are one, whichever part they come from.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from winnow.answers import AnswerValue, Envelope, answer_for, read_partial
from winnow.asking import ASK_AGAIN, SPLIT_TEXT, Asked, Interview, Request, read
from winnow.checking import Span, weighed
from winnow.chunks import Chunk, window_from
from winnow.codebook import Codebook, EntityUnit, Variable, name_key
from winnow.coercion import CoercionError, Conventions, coerce
from winnow.conventions import LONGEST
from winnow.exceptions import OutputError, RejectedCallError
from winnow.extractions import Evidence, Extraction, Flag, FoundValue, Unread
from winnow.prompts import count_name, unit_prompts

JOINT = " | "
"""What stands between the values that identify an entity."""


_MOST_SPOILED = 2
"""How often a stretch is halved because its replies cannot be read: it is the model's luck more than the length."""


@dataclass(frozen=True, kw_only=True)
class FoundEntity:
    """An entity of a document. The key is the same in every job, however its name is written."""

    key: str
    name: str
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The entities of a document, in its order, and the extraction of the cell that asked for them."""

    entities: tuple[FoundEntity, ...]
    extraction: Extraction


@dataclass(frozen=True, kw_only=True)
class _Entry:
    value: AnswerValue
    span: Span
    confidence: float | None = None  # None where the reply was cut short before it said


@dataclass(frozen=True, kw_only=True)
class _Heard:
    """What one request brought: entries, a number that the document gives, or a stretch that stays unread."""

    entries: tuple[_Entry, ...] = ()
    announced: int | None = None
    unread: Unread | None = None


def unit_variable(unit: EntityUnit) -> Variable:
    """The unit of observation as the variable that its list is stored under."""
    return Variable(
        name=unit.entity, type="text", instructions=unit.definition, max_values=1000, if_multiple_values="all"
    )


@dataclass(frozen=True, kw_only=True)
class Lister:
    """Lists the entities of one document."""

    interview: Interview
    unit: EntityUnit
    codebook: Codebook
    document_hash: str  # of the file's bytes: part of the entities' keys

    def all_in(self, chunks: Sequence[Chunk]) -> Listing:
        """The entities of the document."""
        heard = [one for some in self.interview.spread(self._in_chunk, chunks) for one in some]
        entries = [entry for one in heard for entry in one.entries]
        found, unproved = self._identified(entries)
        unread = tuple(one.unread for one in heard if one.unread)
        announced = max((one.announced for one in heard if one.announced is not None), default=None)
        flags: set[Flag] = set()
        if unread:
            flags.add("incomplete")
        if unproved:
            flags.add("evidence_absent")
        said = min((entry.confidence for entry in entries if entry.confidence is not None), default=None)
        extraction = Extraction(
            status="found" if found else "not_stated",
            values=(*(FoundValue(value=one.name, raw=one.name, evidence=one.evidence) for one in found), *unproved),
            unread=unread,
            announced=announced,
        )
        if not entries and unread:
            raise OutputError(unread[0].reason, "the list of entities could not be read")
        said = said if entries else 1.0  # a document without entities is no doubt of the model's
        weighed_ = weighed(extraction, unit_variable(self.unit), flags, said=said, tokens=None)
        return Listing(entities=tuple(found), extraction=weighed_)

    def _in_chunk(self, chunk: Chunk) -> list[_Heard]:
        return list(self._read(chunk, first=True, spoiled=0))

    def _read(self, chunk: Chunk, *, first: bool, spoiled: int) -> Iterator[_Heard]:
        """Ask about a stretch, and go on behind its last entry for as long as replies are cut short."""
        span = (chunk.start, chunk.end)
        while True:
            request = self._request(chunk, span, with_count=first)
            try:
                yield from self._heard(request)
                return
            except (OutputError, RejectedCallError) as error:
                if first and error.reason == "missing_answer":  # then the list is asked for alone
                    first = False
                    continue
                whole = self._whole_part(request) if error.reason == "truncated" else _Heard()
                onward = self._onward(span, whole.entries)
                if onward is None:
                    yield from self._in_halves(chunk, request, error, whole, first=first, spoiled=spoiled)
                    return
            yield whole
            span, first = (onward, span[1]), False

    def _in_halves(
        self,
        chunk: Chunk,
        request: Request,
        error: OutputError | RejectedCallError,
        whole: _Heard,
        *,
        first: bool,
        spoiled: int,
    ) -> Iterator[_Heard]:
        span = request.span
        if error.reason in ASK_AGAIN:
            spoiled += 1
        may_help = error.reason in SPLIT_TEXT or (error.reason in ASK_AGAIN and spoiled <= _MOST_SPOILED)
        two = self.interview.halved(chunk, span) if may_help else None
        if two is None:
            self.interview.give_up(request, error)
            yield replace(whole, unread=Unread(start=span[0], end=span[1], reason=error.reason))
            return
        for half in two:
            yield from self._read(half, first=first, spoiled=spoiled)

    def _request(self, chunk: Chunk, span: Span, *, with_count: bool) -> Request:
        count, listed = unit_prompts(self.unit, self.codebook)
        variable = unit_variable(self.unit)
        asked = [Asked(variable=variable, prompt=listed)]
        if with_count:  # before the list, so that it stands even in a reply that is cut short
            number = variable.model_copy(update={"name": count_name(self.unit), "type": "number", "max_values": 1})
            asked.insert(0, Asked(variable=number, prompt=count))
        request = self.interview.request(chunk, span, asked)
        return replace(request, question=replace(request.question, listing=True))

    def _heard(self, request: Request) -> Iterator[_Heard]:
        envelope, _ = read(self.interview.asker, request)
        yield _Heard(announced=self._announced(envelope))
        answer = answer_for(envelope, self.unit.entity)
        entries = (_Entry(value=value, span=request.span, confidence=answer.confidence) for value in answer.values)
        yield _Heard(entries=tuple(entries))

    def _announced(self, envelope: Envelope) -> int | None:
        try:
            answer = answer_for(envelope, count_name(self.unit))
        except OutputError:
            return None
        return _count(answer.values) if answer.status == "found" else None

    def _whole_part(self, request: Request) -> _Heard:
        """What is whole in a reply that was cut short: the ledger has it."""
        text = self.interview.asker.ask(request).text
        values = read_partial(text, self.unit.entity)
        return _Heard(
            entries=tuple(_Entry(value=value, span=request.span) for value in values),
            announced=_count(read_partial(text, count_name(self.unit))),
        )

    def _onward(self, span: Span, entries: Sequence[_Entry]) -> int | None:
        """Where to go on: the line of the last entry. None where the entries do not lead through the text."""
        found = (self._place(entry).start for entry in entries)
        places = [start for start in found if start is not None and span[0] <= start < span[1]]
        if not places or places != sorted(places):
            return None
        source = self.interview.source
        onward = window_from(source.text, source.blocks, *span, places[-1])
        return onward if onward > span[0] else None

    def _place(self, entry: _Entry, near: Sequence[Span] = ()) -> Evidence:
        return self.interview.source.grounder.locate(entry.value.evidence, within=entry.span, near=near)

    def _identified(self, entries: Sequence[_Entry]) -> tuple[list[FoundEntity], list[FoundValue]]:
        """The entities, each once, and the entries whose words are not in the document: those make no row."""
        placed = [(entry, self._place(entry)) for entry in entries]
        at = Counter((entry.span, evidence.start) for entry, evidence in placed)
        listed = {(entry.span, self._key(_parts(entry))) for entry in entries}
        alone: dict[int | None, tuple[Span, str]] = {}  # by place: who was found there, where only one was
        found: dict[str, FoundEntity] = {}
        unproved = []
        for entry, evidence in placed:
            parts = _parts(entry)
            name = JOINT.join(parts)
            if evidence.mark == "absent" or not name.strip(" |"):
                problem = "is left out, as its evidence is not in the document"
                unproved.append(FoundValue(value=None, raw=entry.value.value, evidence=(evidence,), problem=problem))
                continue
            key = self._key(parts)
            if at[entry.span, evidence.start] == 1:
                span, other = alone.setdefault(evidence.start, (entry.span, key))
                # Parts overlap, and may word the same entity differently; what one part tells apart are two.
                if (entry.span, other) not in listed and (span, key) not in listed:
                    key = other
            known = found.get(key)
            if known is None:
                found[key] = FoundEntity(key=key, name=name, evidence=(evidence,))
            elif all(evidence.start != proof.start for proof in known.evidence):
                found[key] = replace(known, evidence=(*known.evidence, evidence))
        return sorted(found.values(), key=lambda entity: entity.evidence[0].start or 0), unproved

    def _key(self, parts: Sequence[str]) -> str:
        """The same for two ways of writing the same identification: "1 May 2024" and "2024-05-01"."""
        identifying = [self.codebook.variable(name) for name in self.unit.identified_by]
        if len(identifying) != len(parts):
            identifying = [None] * len(parts)
        canonical = [
            _canonical(part, variable, self.codebook) for part, variable in zip(parts, identifying, strict=True)
        ]
        return hashlib.sha256("\n".join([self.document_hash, *canonical]).encode()).hexdigest()[:16]


def _count(values: Sequence[AnswerValue]) -> int | None:
    try:
        number = coerce(values[0].value, Variable(name="n", type="number", instructions="n"))
    except (CoercionError, IndexError):
        return None
    return int(number) if isinstance(number, float) and number >= 0 else None


def _parts(entry: _Entry) -> list[str]:
    return [part.strip() for part in entry.value.value.split(JOINT.strip())]


def _canonical(part: str, variable: Variable | None, codebook: Codebook) -> str:
    if len(part) > LONGEST:
        return part
    if variable is None or variable.type == "text":
        return name_key(part)
    try:
        return str(coerce(part, variable, Conventions(codebook.language, codebook.date_order)))
    except CoercionError:
        return name_key(part)
