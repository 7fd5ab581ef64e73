import itertools
import threading

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, update

from db import documents, tables
from db.session import transaction
from tests import factories
from tests.factories import sha256
from winnow.documents import Block, Box, PackedWords, ParsedDocument, Piece, assemble, text_hash
from winnow.exceptions import DocumentError

# Any name that a file system or an archive may give, once `collect_files` has made it text.
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=80)
FLOATS = st.floats(-10_000, 10_000)
TENTHS = st.integers(-100_000, 100_000).map(lambda tenths: tenths / 10)
BLOCKS = st.builds(
    Block,
    kind=st.sampled_from(["title", "paragraph", "list_item", "table"]),
    start=st.integers(0, 2**31 - 1),
    end=st.integers(0, 2**31 - 1),
    page=st.none() | st.integers(1, 9999),
    box=st.none() | st.builds(Box, x0=FLOATS, y0=FLOATS, x1=FLOATS, y1=FLOATS),
    words=st.lists(
        st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1), TENTHS, TENTHS, TENTHS, TENTHS), max_size=3
    ).map(tuple),
)
numbers = itertools.count()
in_one_database = settings(
    deadline=None, max_examples=40, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def grants(connection):
    return factories.project(connection).id


def save(connection, project_id, name="a.pdf", parsed=None, data="some bytes"):
    return documents.save_parsed(
        connection, project_id, sha256=sha256(data), name=name, size_bytes=10, parsed=parsed or factories.parsed()
    )


def fail(connection, project_id, name="a.pdf", data="some bytes", reason="no_text"):
    return documents.save_failed(
        connection, project_id, sha256=sha256(data), name=name, size_bytes=10, error=DocumentError(reason, "it is so")
    )


def blocks(connection):
    return connection.scalar(select(func.count()).select_from(tables.Block.__table__))


def other_names(connection, document_id):
    document = tables.Document.__table__
    return connection.scalar(select(document.c.other_names).where(document.c.id == document_id))


def test_a_parsed_document_is_found_by_its_bytes(connection, grants):
    parsed = factories.parsed("First paragraph.", "Second one.", page=3)
    document_id = save(connection, grants, parsed=parsed)
    assert documents.find(connection, grants, sha256("some bytes")) == documents.StoredDocument(
        id=document_id, sha256=sha256("some bytes"), name="a.pdf", status="parsed", reason=None, detail=None, words=4,
        tokens=8, pages=3, text_hash=text_hash("First paragraph.\n\nSecond one."),
    )  # fmt: skip
    assert documents.find(connection, grants, sha256("others")) is None


def test_a_document_comes_back_with_its_text_and_blocks_in_order(connection, grants):
    box = Box(x0=72, y0=0.1, x1=540.125, y1=1e-7)
    parsed = assemble(
        [
            Piece(kind="title", text="Bewilligung № 7", page=1, box=box),
            Piece(kind="paragraph", text="Zeile eins\nZeile zwei", page=1, words=((0, 5, 72, 90.5, 99.9, 104),)),
            Piece(kind="list_item", text="𝔘nicode 日本語 🙂"),
            Piece(kind="table", text="a\tb\n1\t2", page=2, box=box),
        ],
        media_type="application/pdf",
        parser="tested 1.0",
        pages=2,
    )
    document_id = save(connection, grants, parsed=parsed)
    block = tables.Block.__table__
    connection.execute(
        update(block).where(block.c.position == 0).values(kind="title")
    )  # written anew, behind the others
    stored = documents.content(connection, document_id)
    assert (stored.text, stored.blocks, stored.text_hash) == (parsed.text, parsed.blocks, parsed.text_hash)
    assert [stored.text[block.start : block.end] for block in stored.blocks] == [
        "Bewilligung № 7", "Zeile eins\nZeile zwei", "𝔘nicode 日本語 🙂", "a\tb\n1\t2",
    ]  # fmt: skip


@in_one_database
@given(given_blocks=st.lists(BLOCKS, min_size=1, max_size=8))
def test_every_block_with_its_box_and_words_comes_back_equal(connection, grants, given_blocks):
    parsed = ParsedDocument(text="text", blocks=tuple(given_blocks), media_type="text/plain", parser="tested 1.0")
    assert documents.content(connection, save(connection, grants, parsed=parsed)).blocks == parsed.blocks


def test_a_block_without_words_has_null_for_them(connection, grants):
    with_words = Piece(kind="paragraph", text="Two words", page=1, words=((0, 3, 72, 90, 90, 104),))
    pieces = [with_words, Piece(kind="paragraph", text="None known")]
    save(connection, grants, parsed=assemble(pieces, media_type="text/plain", parser="tested 1.0"))
    words = tables.Block.__table__.c.words
    assert connection.scalars(select(func.count()).where(words.is_(None))).one() == 1
    assert connection.scalars(select(words).where(words.is_not(None))).one() == PackedWords.pack(with_words.words)


@in_one_database
@given(name=NAMES)
@example("naïve \u202efdp.exe 🙂/../日本\t\n'\";--.pdf")
@example("{a,b}\\")
@example("NULL")
def test_every_name_comes_back_as_it_was(connection, grants, name):
    data = f"bytes {next(numbers)}"
    document_id = save(connection, grants, name, data=data)
    assert documents.find(connection, grants, sha256(data)).name == name
    second = f"second {name}"
    assert documents.note_name(connection, document_id, second)
    assert not documents.note_name(connection, document_id, second)
    assert other_names(connection, document_id) == [second]


def test_the_same_bytes_are_one_document(connection, grants):
    first = save(connection, grants, "a.pdf")
    assert save(connection, grants, "copy of a.pdf") == first
    assert [document.name for document in documents.of_project(connection, grants)] == ["a.pdf"]
    assert blocks(connection) == 1


def test_a_second_name_is_noted_once(connection, grants):
    document_id = save(connection, grants, "a.pdf")
    assert documents.note_name(connection, document_id, "b.pdf")
    assert documents.note_name(connection, document_id, "c.pdf")
    assert not documents.note_name(connection, document_id, "b.pdf")
    assert not documents.note_name(connection, document_id, "a.pdf")
    assert other_names(connection, document_id) == ["b.pdf", "c.pdf"]


def test_a_second_name_that_many_note_at_once_is_noted_once(database):
    with transaction() as connection:
        document_id = save(connection, factories.project(connection).id)
    together = threading.Barrier(8)
    noted = []

    def go() -> None:
        together.wait()
        with transaction() as connection:
            noted.append(documents.note_name(connection, document_id, "b.pdf"))

    threads = [threading.Thread(target=go) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(noted) == [False] * 7 + [True]
    with transaction() as connection:
        assert other_names(connection, document_id) == ["b.pdf"]


def test_a_failed_document_has_its_reason(connection, grants):
    document_id = fail(connection, grants, reason="encrypted")
    stored = documents.find(connection, grants, sha256("some bytes"))
    assert (stored.id, stored.status, stored.reason, stored.detail) == (document_id, "failed", "encrypted", "it is so")
    assert (stored.words, stored.pages, stored.text_hash) == (None, None, None)


def test_a_document_that_failed_and_is_parsed_now_is_mended(connection, grants):
    document_id = fail(connection, grants)
    assert save(connection, grants) == document_id
    stored = documents.find(connection, grants, sha256("some bytes"))
    assert (stored.status, stored.reason, stored.detail) == ("parsed", None, None)
    assert documents.content(connection, document_id).text == "Some text."


def test_a_document_that_fails_again_has_its_newest_reason(connection, grants):
    document_id = fail(connection, grants, reason="no_text")
    assert fail(connection, grants, reason="damaged") == document_id
    assert documents.find(connection, grants, sha256("some bytes")).reason == "damaged"


def test_a_failure_does_not_take_a_text_away(connection, grants):
    document_id = save(connection, grants)
    assert fail(connection, grants) == document_id
    stored = documents.find(connection, grants, sha256("some bytes"))
    assert (stored.status, stored.reason) == ("parsed", None)
    assert documents.content(connection, document_id).text == "Some text."


def test_a_document_parsed_anew_has_its_new_blocks_alone(connection, grants):
    save(connection, grants, parsed=factories.parsed("one", "two", "three"))
    document_id = save(connection, grants, parsed=factories.parsed("one two"))
    assert documents.content(connection, document_id).blocks == factories.parsed("one two").blocks
    assert blocks(connection) == 1


def test_the_same_bytes_stored_by_many_at_once_are_one_document(database):
    with transaction() as connection:
        project_id = factories.project(connection).id
        source = factories.project(connection, name="Source").id
        save(connection, source, parsed=factories.parsed("one", "two"))
    together = threading.Barrier(9)
    ids = []

    def go(number: int) -> None:
        together.wait()
        with transaction() as connection:
            if number % 3 == 0:
                ids.append(save(connection, project_id, parsed=factories.parsed("one", "two")))
            elif number % 3 == 1:
                ids.append(fail(connection, project_id))
            else:
                ids.append(copy(connection, project_id))

    threads = [threading.Thread(target=go, args=(number,)) for number in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 9
    assert len(set(ids)) == 1
    with transaction() as connection:
        assert documents.find(connection, project_id, sha256("some bytes")).status == "parsed"
        assert documents.content(connection, ids[0]).blocks == factories.parsed("one", "two").blocks


def copy(connection, project_id, name="b.pdf", data="some bytes"):
    return documents.copy_from_other_project(connection, project_id, sha256=sha256(data), name=name)


def test_what_another_project_parsed_is_taken_over(connection, grants):
    source = save(connection, factories.project(connection, name="Other").id, parsed=factories.parsed("one", "two"))
    copied = copy(connection, grants)
    assert copied != source
    assert documents.content(connection, copied) == documents.content(connection, source)
    stored = documents.find(connection, grants, sha256("some bytes"))
    assert (stored.name, stored.status, stored.words, stored.pages) == ("b.pdf", "parsed", 2, 1)


def test_the_copy_stays_when_its_source_goes(connection, grants):
    other = factories.project(connection, name="Other").id
    save(connection, other, parsed=factories.parsed("one", "two"))
    copied = copy(connection, grants)
    connection.execute(tables.Project.__table__.delete().where(tables.Project.__table__.c.id == other))
    assert documents.content(connection, copied).blocks == factories.parsed("one", "two").blocks


def test_what_no_other_project_parsed_is_not_taken_over(connection, grants):
    fail(connection, factories.project(connection, name="Other").id)
    assert copy(connection, grants) is None
    assert documents.of_project(connection, grants) == []


def test_a_copy_mends_a_document_that_failed_here(connection, grants):
    document_id = fail(connection, grants)
    save(connection, factories.project(connection, name="Other").id)
    assert copy(connection, grants) == document_id
    stored = documents.find(connection, grants, sha256("some bytes"))
    assert (stored.status, stored.reason, stored.detail) == ("parsed", None, None)


def test_a_copy_over_a_parsed_document_does_no_harm(connection, grants):
    document_id = save(connection, grants, parsed=factories.parsed("one"))
    assert copy(connection, grants) is None
    save(connection, factories.project(connection, name="Other").id, parsed=factories.parsed("one", "two"))
    assert copy(connection, grants) == document_id
    assert documents.content(connection, document_id).blocks == factories.parsed("one", "two").blocks


def test_documents_are_listed_by_name_whatever_the_order_they_came_in(connection, grants):
    names = ["b.pdf", "a/z.pdf", "10.pdf", "Z.pdf", "2.pdf", "ä.pdf", "a.pdf", "日本.pdf", "a/b.pdf"]
    for name in names:
        save(connection, grants, name, data=name)
    assert [document.name for document in documents.of_project(connection, grants)] == sorted(names)


def test_documents_of_one_name_are_listed_as_they_came(connection, grants):
    ids = [save(connection, grants, "same.pdf", data=str(number)) for number in range(5)]
    assert [document.id for document in documents.of_project(connection, grants)] == ids


def test_projects_have_their_own_documents(connection, grants):
    other = factories.project(connection, name="Other").id
    mine, theirs = save(connection, grants), save(connection, other)
    assert [document.id for document in documents.of_project(connection, grants)] == [mine]
    assert [document.id for document in documents.of_project(connection, other)] == [theirs]


def test_a_long_document_comes_back_whole(connection, grants):
    texts = [f"Paragraph {number} " + "word " * 200 for number in range(3_000)]
    stored = documents.content(connection, save(connection, grants, parsed=factories.parsed(*texts)))
    assert stored.text == factories.parsed(*texts).text
    assert len(stored.blocks) == 3_000
