"""Files become documents: each once, with its bytes kept, and with a reason where they give no text."""

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from db import documents, tables
from db.documents import DocumentContent, StoredDocument
from db.session import transaction
from tasks.ingest_file import Ingested, ingest_file, original_path
from tests import factories
from tests.conftest import forget
from winnow.exceptions import DocumentError

LETTER = "Dear Charles,\n\nthe notes are done.\n\nAda"

Ingest = Callable[..., Ingested]


@pytest.fixture
def project(database: str) -> int:
    with transaction() as connection:
        return factories.project(connection).id


@pytest.fixture
def ingest(project: int, tmp_path: Path) -> Ingest:
    """Write a file and ingest it: `ingest("a.txt", LETTER)`. Without a text, what lies there is ingested."""

    def go(name: str, text: str | bytes | None = None, into: int = project, known_as: str | None = None) -> Ingested:
        path = tmp_path / "corpus" / name
        if text is not None:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return ingest_file.fn(str(path), known_as or name, into)

    return go


def stored(project: int) -> list[StoredDocument]:
    with transaction() as connection:
        return documents.of_project(connection, project)


def content(document: StoredDocument) -> DocumentContent:
    with transaction() as connection:
        return documents.content(connection, document.id)


def row(document: StoredDocument) -> Any:
    table = tables.Document.__table__
    with transaction() as connection:
        return connection.execute(select(table).where(table.c.id == document.id)).one()


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_file_becomes_a_document_with_its_text_and_blocks(ingest: Ingest, project: int) -> None:
    assert ingest("a.txt", LETTER) == "parsed"

    (document,) = stored(project)
    assert (document.name, document.status, document.sha256) == ("a.txt", "parsed", digest(LETTER))
    assert (document.words, document.reason) == (7, None)
    assert content(document).text == LETTER
    assert [content(document).text[block.start : block.end] for block in content(document).blocks] == LETTER.split(
        "\n\n"
    )
    assert row(document).size_bytes == len(LETTER)
    assert row(document).media_type == "text/plain"


def test_the_same_file_again_is_known(ingest: Ingest, project: int) -> None:
    ingest("a.txt", LETTER)

    assert ingest("a.txt") == "known"
    assert len(stored(project)) == 1


def test_the_same_bytes_under_another_name_are_one_document_with_both_names(ingest: Ingest, project: int) -> None:
    ingest("a.txt", LETTER)

    assert ingest("copy of a.txt", LETTER) == "named"
    assert ingest("copy of a.txt") == "known"
    (document,) = stored(project)
    assert (row(document).name, row(document).other_names) == ("a.txt", ["copy of a.txt"])


def test_other_bytes_under_the_same_name_are_another_document(ingest: Ingest, project: int) -> None:
    assert ingest("a.txt", LETTER) == ingest("a.txt", "Another letter.") == "parsed"

    assert [document.name for document in stored(project)] == ["a.txt", "a.txt"]
    assert {document.sha256 for document in stored(project)} == {digest(LETTER), digest("Another letter.")}


def test_the_same_bytes_that_come_at_once_are_one_document_with_all_names(
    database: str, project: int, tmp_path: Path
) -> None:
    paths = [tmp_path / f"copy {number}.txt" for number in range(8)]
    for path in paths:
        path.write_text(LETTER)
    together = threading.Barrier(len(paths))

    def go(path: Path) -> Ingested:
        together.wait()
        return ingest_file.fn(str(path), path.name, project)

    with ThreadPoolExecutor(len(paths)) as pool:
        assert set(pool.map(go, paths)) <= {"parsed", "named"}
    (document,) = stored(project)
    assert sorted([document.name, *row(document).other_names]) == [path.name for path in paths]
    assert content(document).text == LETTER


# Two projects


def test_bytes_that_another_project_has_parsed_are_not_parsed_again(ingest: Ingest, project: int) -> None:
    ingest("a.txt", LETTER)
    (first,) = stored(project)
    document = tables.Document.__table__
    with transaction() as connection:
        second = factories.project(connection, name="Letters").id
        connection.execute(update(document).where(document.c.id == first.id).values(parser="an older parser"))

    assert ingest("b.txt", LETTER, into=second) == "parsed"
    (copied,) = stored(second)
    assert (copied.name, copied.status, copied.words) == ("b.txt", "parsed", 7)
    assert row(copied).parser == "an older parser"  # a parser that ran now would have left its own name
    assert content(copied) == content(first)
    assert [document.name for document in stored(project)] == ["a.txt"]
    assert ingest("b.txt", into=second) == "known"


def test_bytes_that_failed_in_another_project_are_tried_again(ingest: Ingest, project: int) -> None:
    with transaction() as connection:
        other = factories.project(connection, name="Letters").id
        fail(connection, other, LETTER)

    assert ingest("a.txt", LETTER) == "parsed"
    assert stored(other)[0].status == "failed"


def fail(connection: Any, project: int, text: str, name: str = "a.txt") -> None:
    error = DocumentError("damaged", "an older parser could not read it")
    documents.save_failed(connection, project, sha256=digest(text), name=name, size_bytes=len(text), error=error)


# Files that give no text

EMPTY = {
    "no bytes": (b"", "it is empty"),
    "white space": (b" \n\t\r\n ", "it is empty"),
    "a byte order mark": (b"\xef\xbb\xbf", "it is empty"),
    "signs": ("— … ***".encode(), "it holds no text; a scan needs text recognition first"),
}


@pytest.mark.parametrize(("data", "detail"), EMPTY.values(), ids=EMPTY)
def test_a_file_without_text_fails_for_that_reason(ingest: Ingest, project: int, data: bytes, detail: str) -> None:
    assert ingest("a.txt", data) == "failed"

    (document,) = stored(project)
    assert (document.status, document.reason, document.detail) == ("failed", "no_text", detail)
    assert (document.text_hash, document.words, row(document).text) == (None, None, None)


def test_a_file_that_is_not_text_fails_with_the_parsers_reason(ingest: Ingest, project: int) -> None:
    assert ingest("a.txt", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256))) == "failed"
    assert stored(project)[0].reason in ("unsupported", "not_text")


def test_a_failed_file_is_tried_each_time_and_mended_when_it_can_be_read(ingest: Ingest, project: int) -> None:
    with transaction() as connection:
        fail(connection, project, LETTER)

    assert ingest("a.txt", LETTER) == "parsed"
    (document,) = stored(project)
    assert (document.status, document.reason, document.detail) == ("parsed", None, None)
    assert content(document).text == LETTER
    assert ingest("a.txt") == "known"


def test_every_name_of_a_failed_file_is_kept_and_survives_its_mending(ingest: Ingest, project: int) -> None:
    assert ingest("empty.txt", b"") == ingest("empty too.txt", b"") == ingest("empty.txt") == "failed"
    (document,) = stored(project)
    assert (document.name, row(document).other_names) == ("empty.txt", ["empty too.txt"])

    with transaction() as connection:
        fail(connection, project, LETTER, name="old.txt")
    assert ingest("new.txt", LETTER) == "parsed"
    mended = next(document for document in stored(project) if document.status == "parsed")
    assert (mended.name, row(mended).other_names) == ("old.txt", ["new.txt"])


# Files that cannot be read


def test_a_file_that_is_gone_fails_without_its_bytes(ingest: Ingest, project: int) -> None:
    assert ingest("gone.txt") == ingest("gone.txt") == "failed"

    (document,) = stored(project)
    assert (document.name, document.reason) == ("gone.txt", "unreadable")
    assert document.detail == "it cannot be opened: No such file or directory"
    assert row(document).size_bytes == 0


def test_a_folder_in_a_files_place_fails(ingest: Ingest, project: int, tmp_path: Path) -> None:
    (tmp_path / "corpus" / "a.txt").mkdir(parents=True)

    assert ingest("a.txt") == "failed"
    assert stored(project)[0].detail == "it cannot be opened: Is a directory"


def test_two_files_that_cannot_be_read_are_two_documents(ingest: Ingest, project: int) -> None:
    ingest("one.txt")
    ingest("two.txt")

    assert [document.name for document in stored(project)] == ["one.txt", "two.txt"]


def test_a_file_that_can_be_read_at_last_leaves_no_failure_behind(ingest: Ingest, project: int) -> None:
    ingest("a.txt")
    ingest("b.txt")

    assert ingest("a.txt", LETTER) == "parsed"
    assert ingest("b.txt", LETTER) == "named"
    assert [(document.name, document.status) for document in stored(project)] == [("a.txt", "parsed")]


@pytest.fixture
def one_megabyte(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("WINNOW_MAX_FILE_MB", "1")
    forget()
    return 1_000_000


def test_a_file_above_the_limit_is_refused_with_the_remedy(ingest: Ingest, project: int, one_megabyte: int) -> None:
    assert ingest("fits.txt", b"a".ljust(one_megabyte)) == "parsed"
    assert ingest("large.txt", b"a".ljust(one_megabyte + 1)) == "failed"

    document = stored(project)[1]
    assert (document.name, document.reason) == ("large.txt", "unreadable")
    assert document.detail == "it is larger than 1 MB; raise WINNOW_MAX_FILE_MB to read it"


def test_a_file_is_read_when_the_limit_is_raised(
    ingest: Ingest, project: int, one_megabyte: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest("large.txt", b"a".ljust(one_megabyte + 1))
    monkeypatch.setenv("WINNOW_MAX_FILE_MB", "2")
    forget()

    assert ingest("large.txt") == "parsed"
    assert [document.status for document in stored(project)] == ["parsed"]


# Originals


@pytest.mark.parametrize("data", [LETTER.encode(), b"", b"\0\xff\n"], ids=["read", "empty", "not text"])
def test_the_bytes_are_kept_under_their_hash_whatever_became_of_them(
    ingest: Ingest, tmp_path: Path, data: bytes
) -> None:
    ingest("a.txt", data)
    sha256 = hashlib.sha256(data).hexdigest()

    assert original_path(sha256) == tmp_path / "files" / sha256[:2] / sha256
    assert original_path(sha256).read_bytes() == data


def test_bytes_are_kept_once_and_no_half_files_are_left(ingest: Ingest, tmp_path: Path) -> None:
    ingest("empty.txt", b"")
    kept = original_path(digest(""))
    before = kept.stat()
    assert ingest("empty.txt") == ingest("copy.txt", b"") == "failed"  # read again, as every file that failed

    assert (kept.stat().st_ino, kept.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == [kept]


@pytest.mark.parametrize(
    "name", ["../../../escape.txt", "/etc/escape.txt", "C:\\escape.txt", "-rf", "CON", "'; DROP TABLE document; --"]
)
def test_a_name_is_stored_as_it_is_and_leads_nowhere(ingest: Ingest, project: int, tmp_path: Path, name: str) -> None:
    assert ingest("a.txt", LETTER, known_as=name) == "parsed"

    assert [document.name for document in stored(project)] == [name]
    written = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {Path("corpus/a.txt"), original_path(digest(LETTER)).relative_to(tmp_path)}
    assert not list(tmp_path.parent.glob("escape*"))
