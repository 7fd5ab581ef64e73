"""A document that crashes its parser, hangs or wants too much memory fails alone, with its reason and the remedy."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from db import documents
from db.session import transaction
from tasks.ingest_file import ingest_file
from tasks.parse_pool import ParsePool
from tests import factories
from tests.conftest import forget
from winnow.documents import ParsedDocument
from winnow.exceptions import DefinitionError, DocumentError

HOSTILE = "tests.tasks.hostile_parsers:parse"
ROOT = Path(__file__).parents[2]

Parse = Callable[[str], ParsedDocument]


@pytest.fixture(scope="module")
def pool() -> Iterator[ParsePool]:
    """Two children that do what a document says, with 512 MB for each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WINNOW_PARSE_MEMORY_MB", "512")
        patch.setattr(os, "cpu_count", lambda: 2)
        forget()
        pool = ParsePool(HOSTILE, patience=0)
        yield pool
        pool.end_idle()
    forget()


@pytest.fixture
def half_a_second(pool: ParsePool) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WINNOW_PARSE_SECONDS", "0.5")
        forget()
        yield
    forget()


@pytest.fixture
def parse(pool: ParsePool, tmp_path: Path) -> Parse:
    def go(words: str) -> ParsedDocument:
        path = tmp_path / "document"
        path.write_text(words)
        return pool.parse(path, "a.txt")

    return go


def children() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended, and is a zombie at most
            if "tasks.parse_child" in child.cmdline():
                found.append(child)
    return found


TOO_MUCH = "reading it takes more than 512 MB of memory; raise WINNOW_PARSE_MEMORY_MB to read it"
HOSTILITIES = {
    "segfault": ("crashed", "its parser crashed (SIGSEGV); save the file anew, or in another format"),
    "exit": ("crashed", "its parser crashed (exit status 3); save the file anew, or in another format"),
    "fail": ("crashed", "its parser failed (ValueError)"),  # without the error's words, which may quote the document
    "eat": ("too_large", TOO_MUCH),
    "reply 60": ("too_large", TOO_MUCH),  # the text fits, and its way back does not
    "be_killed": ("too_large", TOO_MUCH),  # as the system does when its memory runs out
    "abort": ("too_large", TOO_MUCH),  # as PDFium does then
    "refuse": ("encrypted", "it has a password"),
}


@pytest.mark.parametrize(("words", "reason", "detail"), [(words, *why) for words, why in HOSTILITIES.items()])
def test_a_hostile_document_fails_alone_with_its_reason_and_the_next_is_parsed(
    parse: Parse, words: str, reason: str, detail: str
) -> None:
    with pytest.raises(DocumentError) as caught:
        parse(words)

    assert (caught.value.reason, str(caught.value)) == (reason, detail)
    assert parse("Dear Ada").text == "Dear Ada"


def test_a_document_that_hangs_fails_alone_when_its_time_is_over(parse: Parse, half_a_second: None) -> None:
    with pytest.raises(DocumentError) as caught:
        parse("hang")

    assert caught.value.reason == "too_slow"
    assert str(caught.value) == "reading it takes longer than 0.5 s; raise WINNOW_PARSE_SECONDS to read it"
    assert parse("Dear Ada").text == "Dear Ada"


def test_a_library_that_is_missing_is_not_the_documents_fault(parse: Parse) -> None:
    with pytest.raises(ImportError, match="a library is missing"):
        parse("miss")


def test_a_child_parses_one_document_after_the_other(parse: Parse) -> None:
    assert len({parse("pid").text for _ in range(3)}) == 1


def test_two_documents_are_parsed_at_once(parse: Parse, pool: ParsePool, tmp_path: Path) -> None:
    (tmp_path / "meeting").mkdir()
    path = tmp_path / "both"
    path.write_text(f"meet {tmp_path / 'meeting'}")

    with ThreadPoolExecutor(2) as threads:
        texts = list(threads.map(lambda _: pool.parse(path, "a.txt").text, range(2)))
    assert len(set(texts)) == 2
    assert parse("pid").text in texts


def test_a_little_work_is_left_to_one_child(pool: ParsePool, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text("pid")
    alone = ParsePool(HOSTILE, patience=60)

    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(lambda _: alone.parse(path, "a.txt").text, range(8)))) == 1
    alone.end_idle()


def test_one_that_hangs_does_not_hold_up_another(
    parse: Parse, pool: ParsePool, half_a_second: None, tmp_path: Path
) -> None:
    path = tmp_path / "hangs"
    path.write_text("hang")

    with ThreadPoolExecutor(1) as threads:
        hanging = threads.submit(pool.parse, path, "a.txt")
        assert parse("Dear Ada").text == "Dear Ada"
        assert isinstance(hanging.exception(), DocumentError)


def test_a_child_that_holds_on_to_memory_is_replaced(parse: Parse) -> None:
    (first,) = {parse("pid").text, parse("pid").text}
    parse("hold 300")

    assert parse("pid").text != first
    assert parse("hold 300").text == "held"


def test_a_child_that_died_while_it_had_nothing_to_do_is_replaced(parse: Parse) -> None:
    idle = psutil.Process(int(parse("pid").text))
    idle.kill()
    while idle.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)

    assert parse("Dear Ada").text == "Dear Ada"


def test_children_with_nothing_to_do_can_be_ended(parse: Parse, pool: ParsePool) -> None:
    pool.end_idle()
    before = len(children())
    parse("Dear Ada")
    assert len(children()) == before + 1

    pool.end_idle()
    assert len(children()) == before
    assert parse("Dear Ada").text == "Dear Ada"


def test_a_child_that_cannot_start_is_said_with_the_remedy(pool: ParsePool, tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"did not start.*install Winnow anew"):
        ParsePool("tests.tasks.hostile_parsers:no_such_parser").parse(tmp_path, "a.txt")


PARENT = f"""
import sys, threading
from pathlib import Path
from tasks.parse_pool import ParsePool

pool, folder = ParsePool("{HOSTILE}", patience=0), Path(sys.argv[1])
(folder / "hangs").write_text("hang")
(folder / "pid").write_text("pid")
def hang(): pool.parse(folder / "hangs", "a.txt")
threading.Thread(target=hang).start()
print(pool.parse(folder / "pid", "a.txt").text, flush=True)
"""


def test_no_child_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        parent.stdout.readline()
        left = psutil.Process(parent.pid).children()
        assert len(left) == 2  # one hangs, one has nothing to do
        time.sleep(0.3)  # by now the hanging one does
        parent.kill()

    _, alive = psutil.wait_procs(left, timeout=5)
    assert alive == []


def test_ingesting_goes_on_after_hostile_files(
    database: str, pool: ParsePool, half_a_second: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.ingest_file.parse_pool", lambda: pool)
    with transaction() as connection:
        project = factories.project(connection).id
    for words in ("hang", "eat", "segfault", "Dear Ada"):
        (tmp_path / words).write_text(words)
        ingest_file.fn(str(tmp_path / words), words, project)

    with transaction() as connection:
        reasons = {document.name: document.reason for document in documents.of_project(connection, project)}
    assert reasons == {"hang": "too_slow", "eat": "too_large", "segfault": "crashed", "Dear Ada": None}
