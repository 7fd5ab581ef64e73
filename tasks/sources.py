"""Documents and prompts as cells need them, read once for many cells."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from db import documents, projects
from db.session import transaction
from winnow.asking import Source
from winnow.chunks import Chunk, chunks
from winnow.codebook import Chunking
from winnow.grounding import Grounder
from winnow.projects import PromptVersion


@dataclass(frozen=True, kw_only=True)
class Document:
    """A document as it is asked about."""

    source: Source
    sha256: str
    text_hash: str
    tokens: int

    def chunks(self, chunking: Chunking, *, whole: bool = True) -> Sequence[Chunk]:
        """The parts in which it is read: one, where it fits a call.

        Args:
            whole: whether a document that fits a call is read in one piece, however long it is.
        """
        if self.tokens <= (chunking.whole_up_to if whole else chunking.tokens):
            return (Chunk(0, len(self.source.text), 1, 1),)
        return _chunks(self.source, chunking)


@lru_cache(maxsize=64)
def _chunks(source: Source, chunking: Chunking) -> Sequence[Chunk]:
    return chunks(source.text, source.blocks, chunking)


# A job's cells come document by document, so a few documents serve all cells in flight. The cells of one start at the
# same time: the first of them reads it for all.

_reading = threading.Lock()


def document(document_id: int) -> Document:
    """A parsed document."""
    with _reading:
        return _read(document_id)


@lru_cache(maxsize=64)
def _read(document_id: int) -> Document:
    with transaction() as connection:
        content = documents.content(connection, document_id)
    source = Source(text=content.text, blocks=content.blocks, grounder=Grounder(content.text, content.blocks))
    return Document(source=source, sha256=content.sha256, text_hash=content.text_hash, tokens=content.tokens)


@lru_cache(maxsize=4096)
def prompt(prompt_id: int) -> PromptVersion:
    """One version of a variable's prompt."""
    with transaction() as connection:
        return projects.prompt(connection, prompt_id)
