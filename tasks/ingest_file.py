"""One file: its bytes are kept by hash and parsed once, and the document is stored with its text and blocks."""

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Literal

from prefect import task
from prefect.cache_policies import NO_CACHE

from db import documents
from db.session import transaction
from tasks.parse_pool import parse_pool
from winnow.exceptions import DocumentError
from winnow.settings import settings

Ingested = Literal["parsed", "failed", "known", "named"]
"""What became of a file: parsed or failed now, known with the same bytes already, or known and a new name noted."""


@task(
    name="ingest-file",
    task_run_name="{name}",
    cache_policy=NO_CACHE,
    persist_result=False,
    log_prints=False,
)
def ingest_file(path: str, name: str, project_id: int) -> Ingested:
    """Make a file a document of a project. A file that gives no text becomes one with status `failed`."""
    unread = hashlib.sha256(f"unread {name}".encode()).hexdigest()  # stands for bytes that nobody has seen
    try:
        data = _read(Path(path))
    except DocumentError as error:
        return _save_failed(project_id, unread, name, 0, error)
    digest = hashlib.sha256(data).hexdigest()
    with transaction() as connection:
        documents.remove_failed(connection, project_id, unread)
        known = documents.find(connection, project_id, digest)
        if known and known.status == "parsed":
            return "named" if documents.note_name(connection, known.id, name) else "known"
        copied = documents.copy_from_other_project(connection, project_id, sha256=digest, name=name)
        if copied:
            documents.note_name(connection, copied, name)
            return "parsed"
    return _parse(project_id, digest, name, data)


def _parse(project_id: int, digest: str, name: str, data: bytes) -> Ingested:
    keep_original(digest, data)
    try:
        parsed = parse_pool().parse(original_path(digest), name)
    except DocumentError as error:
        return _save_failed(project_id, digest, name, len(data), error)
    with transaction() as connection:
        document_id = documents.save_parsed(
            connection, project_id, sha256=digest, name=name, size_bytes=len(data), parsed=parsed
        )
        documents.note_name(connection, document_id, name)  # the bytes may have come under another just now
    return "parsed"


def _save_failed(project_id: int, digest: str, name: str, size: int, error: DocumentError) -> Ingested:
    with transaction() as connection:
        document_id = documents.save_failed(
            connection, project_id, sha256=digest, name=name, size_bytes=size, error=error
        )
        documents.note_name(connection, document_id, name)
    return "failed"


def _read(path: Path) -> bytes:
    limit = settings().max_file_mb
    try:
        size = path.stat().st_size
        if size > limit * 1_000_000:
            raise DocumentError("unreadable", f"it is larger than {limit} MB; raise WINNOW_MAX_FILE_MB to read it")
        return path.read_bytes()
    except OSError as error:
        raise DocumentError("unreadable", f"it cannot be opened: {error.strerror}") from error


def original_path(digest: str) -> Path:
    """Where the original bytes of a document are kept."""
    return settings().home / "files" / digest[:2] / digest


def keep_original(digest: str, data: bytes) -> None:
    """Keep a file's bytes under their hash. A file appears whole or not at all."""
    target = original_path(digest)
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as half:
        half.write(data)
    os.replace(half.name, target)
