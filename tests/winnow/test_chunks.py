"""Long documents are read in stretches that lose nothing, end where a reader would pause, and are about of a size."""

import re
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from winnow.chunks import Chunk, chunks, halves, window_from
from winnow.codebook import Chunking
from winnow.documents import Block, BlockKind, ParsedDocument, Piece, assemble
from winnow.tokens import count_tokens

SMALL = Chunking(tokens=200, overlap=0.1)

WORDS = st.sampled_from(
    ["a", "the grant", "Berlin, 3 May", "Verwendungsnachweis", "12.50", "字" * 7, "ส" * 9, "x" * 300]
)
SENTENCES = st.lists(WORDS, min_size=1, max_size=40).map(lambda words: " ".join(words) + ".")
PARAGRAPHS = st.lists(SENTENCES, min_size=1, max_size=6).map(" ".join)
TABLES = st.lists(st.lists(WORDS, min_size=1, max_size=5).map("\t".join), min_size=1, max_size=40).map("\n".join)
PIECES = st.one_of(
    PARAGRAPHS.map(lambda text: Piece(kind="paragraph", text=text)),
    SENTENCES.map(lambda text: Piece(kind="list_item", text=text)),
    TABLES.map(lambda text: Piece(kind="table", text=text)),
    WORDS.map(lambda text: Piece(kind="title", text=text)),
)
CHUNKINGS = st.builds(Chunking, tokens=st.integers(200, 900), overlap=st.floats(0, 0.5))


def assembled(*pieces: Piece) -> ParsedDocument:
    return assemble(pieces, media_type="text/plain", parser="tested 1.0")


DOCUMENTS = st.lists(PIECES, min_size=1, max_size=25).map(lambda pieces: assembled(*pieces))


def paragraph(text: str) -> ParsedDocument:
    return assembled(Piece(kind="paragraph", text=text))


def chunk_texts(document: ParsedDocument, chunking: Chunking = SMALL) -> list[str]:
    return [document.text[chunk.start : chunk.end] for chunk in chunks(document.text, document.blocks, chunking)]


def check_promises(text: str, found: tuple[Chunk, ...]) -> None:
    assert [chunk.number for chunk in found] == list(range(1, len(found) + 1))
    assert {chunk.of for chunk in found} <= {len(found)}
    assert all(0 <= chunk.start < chunk.end <= len(text) for chunk in found)
    assert all(before.start < after.start and before.end < after.end for before, after in pairwise(found))
    ends = [0, *(chunk.end for chunk in found)]
    starts = [*(chunk.start for chunk in found), len(text)]
    assert not any(text[end:start].strip() for end, start in zip(ends, starts, strict=True))


# What holds for every document


@settings(deadline=None, database=None)
@given(document=DOCUMENTS, chunking=CHUNKINGS)
def test_chunks_are_in_order_and_lose_nothing(document: ParsedDocument, chunking: Chunking) -> None:
    found = chunks(document.text, document.blocks, chunking)

    check_promises(document.text, found)
    assert found == chunks(document.text, document.blocks, chunking)
    assert all(count_tokens(document.text[chunk.start : chunk.end]) <= 1.5 * chunking.tokens + 1 for chunk in found)
    assert all(
        count_tokens(document.text[after.start : before.end]) <= chunking.overlap * chunking.tokens + 1
        for before, after in pairwise(found)
        if after.start < before.end
    )


@settings(deadline=None, database=None)
@given(document=DOCUMENTS, chunking=CHUNKINGS)
def test_a_title_never_ends_a_chunk_but_among_titles(document: ParsedDocument, chunking: Chunking) -> None:
    titles = {block.end: index for index, block in enumerate(document.blocks) if block.kind == "title"}

    for chunk in chunks(document.text, document.blocks, chunking)[:-1]:
        if chunk.end in titles:
            inside = [block for block in document.blocks if chunk.start <= block.start < block.end <= chunk.end]
            assert {block.kind for block in inside} == {"title"}
            assert count_tokens(document.text[chunk.start : chunk.end]) * 2 >= chunking.tokens - 2 * len(inside)


@settings(deadline=None, database=None)
@given(text=st.text(st.sampled_from("ab .\n\t字ก\u0301。1A!"), max_size=3000), chunking=CHUNKINGS)
def test_no_text_is_lost_without_blocks_either(text: str, chunking: Chunking) -> None:
    check_promises(text, chunks(text, (), chunking))


@settings(deadline=None, database=None)
@given(document=DOCUMENTS, data=st.data())
def test_halves_are_a_stretch_without_the_white_space_between_them(
    document: ParsedDocument, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(document.text) - 1))
    end = data.draw(st.integers(start + 1, len(document.text)))
    tokens = count_tokens(document.text[start:end])
    both = halves(document.text, document.blocks, start, end)

    if both is None:
        assert tokens < 100
        return
    (first, cut), (rest, last) = both
    assert (first, last) == (start, end)
    assert start < cut <= rest < end
    assert not document.text[cut:rest].strip()


@settings(deadline=None, database=None)
@given(document=DOCUMENTS, data=st.data())
def test_a_window_begins_in_its_stretch_and_a_little_before_its_place(
    document: ParsedDocument, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(document.text) - 1))
    end = data.draw(st.integers(start + 1, len(document.text)))
    position = data.draw(st.integers(start, end - 1))
    window = window_from(document.text, document.blocks, start, end, position)

    assert max(start, position - 400) <= window <= position


# Where chunks end


def test_a_text_that_fits_is_one_chunk_and_white_space_is_none() -> None:
    text = "One sentence. Another one."

    assert chunks(text, (), SMALL) == (Chunk(0, len(text), 1, 1),)
    assert chunks(" \n ", (), SMALL) == chunks("", (), SMALL) == ()


def test_chunks_end_with_blocks_and_begin_with_the_last_one_before() -> None:
    texts = [f"Item {letter} is a short paragraph of its own." for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
    document = assembled(*(Piece(kind="paragraph", text=text) for text in texts))
    found = chunk_texts(document)

    assert len(found) > 1
    assert [part for text in found for part in text.split("\n\n") if part not in texts] == []
    assert all(after.startswith(before.split("\n\n")[-1]) for before, after in pairwise(found))


def test_a_title_goes_with_the_text_below_it() -> None:
    body = " ".join(["The parties agree to this sentence of the paragraph."] * 9)
    articles = (
        (Piece(kind="title", text=f"Article {number}"), Piece(kind="paragraph", text=body)) for number in range(6)
    )
    document = assembled(*(piece for article in articles for piece in article))
    found = chunk_texts(document)

    assert len(found) > 2
    assert not any(re.search(r"Article \d$", text) for text in found)


def test_a_long_table_is_cut_between_its_rows() -> None:
    rows = [f"Row {number}\tBerlin\t{number * 1000}" for number in range(200)]
    found = chunk_texts(assembled(Piece(kind="table", text="\n".join(rows))))

    assert len(found) > 5
    assert {row for text in found for row in text.split("\n")} == set(rows)
    assert all(before.split("\n")[-1] in after.split("\n") for before, after in pairwise(found))


def test_a_long_paragraph_is_cut_between_its_sentences() -> None:
    sentences = [f"The grant of 5 No. {number} ended on 3 May 2021 in Berlin." for number in range(100)]
    found = chunk_texts(paragraph(" ".join(sentences)))

    assert len(found) > 5
    assert all(text.startswith("The grant of") and text.endswith("in Berlin.") for text in found)


def test_a_long_list_without_sentences_is_cut_between_its_lines() -> None:
    lines = [f"{number}. Berlin, 500 people" for number in range(300)]
    found = chunk_texts(paragraph("\n".join(lines)))

    assert {line for text in found for line in text.split("\n")} == set(lines)


def test_a_long_sentence_is_cut_between_its_words_and_a_long_word_anywhere() -> None:
    words = " ".join(f"word{number}" for number in range(1000))

    assert {word for text in chunk_texts(paragraph(words)) for word in text.split()} == set(words.split())
    assert len(chunk_texts(paragraph("x" * 20_000))) > 10


def test_a_long_word_is_not_cut_before_a_mark_on_its_letter() -> None:
    found = chunk_texts(paragraph("เก็บข้อมูลที่" * 200), Chunking(tokens=200, overlap=0))

    assert len(found) > 1
    assert not any(re.match("[\u0e31\u0e34-\u0e3a\u0e47-\u0e4e]", text) for text in found)


def test_text_between_blocks_is_read_too() -> None:
    text = "before\n\ninside\n\nafter"

    assert chunks(text, [Block(kind="paragraph", start=8, end=14)], SMALL) == (Chunk(0, len(text), 1, 1),)


@pytest.mark.parametrize("text", ["a", "word ", "1. Berlin\n", ". ", "字", "Yes. ", "\n \n .", '."', "ก็"], ids=repr)
def test_one_long_line_takes_a_time_that_grows_with_it(text: str) -> None:
    long = (text * 1_000_000)[:1_000_000].strip()
    began = time.perf_counter()

    assert len(chunks(long, [Block(kind="paragraph", start=0, end=len(long))], Chunking())) > 10
    assert time.perf_counter() - began < 10  # it takes less than one second


# Halves


def test_halves_part_at_the_block_near_the_middle() -> None:
    body = " ".join(["Another sentence of the same kind stands here."] * 10)
    document = assembled(
        Piece(kind="paragraph", text=body), Piece(kind="title", text="Second"), Piece(kind="paragraph", text=body)
    )
    both = halves(document.text, document.blocks, 0, len(document.text))

    assert both == ((0, document.blocks[0].end), (document.blocks[1].start, len(document.text)))


def test_halves_part_between_rows_however_far_from_the_middle() -> None:
    text = "Name\tRemark\nBerlin\t" + "many words " * 100
    document = assembled(Piece(kind="table", text=text))

    assert halves(document.text, document.blocks, 0, len(document.text)) == ((0, 11), (12, len(document.text)))


def test_halves_of_one_sentence_part_between_words() -> None:
    text = " ".join(["word"] * 300)
    both = halves(text, (), 0, len(text))

    assert both is not None
    (_, cut), (rest, _) = both
    assert text[cut:rest] == " "
    assert 0.3 < cut / len(text) < 0.7


def test_a_short_stretch_has_no_halves() -> None:
    assert halves("word " * 50, (), 0, 250) is None


# Where to go on


@pytest.mark.parametrize(
    ("kind", "text", "at", "expected"),
    [
        pytest.param("table", "Berlin\t500\nHamburg\t70\nBonn\t3", "70", "Hamburg\t70", id="row"),
        pytest.param("paragraph", "One came. Two stayed at home. All slept.", "home", "Two stayed", id="sentence"),
        pytest.param("paragraph", "Berlin, 500\nHamburg, 70\nBonn, 3", "70", "Hamburg, 70", id="line"),
        pytest.param("paragraph", "The march of\nthe many went on.", "many", "The march", id="a line that goes on"),
        pytest.param("paragraph", "Berlin, 500\nHamburg, 70", "Ber", "Berlin", id="first"),
        pytest.param("paragraph", "word " * 200 + "here now", "ere", "here now", id="a long line"),
        pytest.param("paragraph", "会议开始。人很多。结束。", "很", "人很多", id="Chinese"),
    ],
)
def test_a_window_goes_on_at_its_row_line_or_sentence(kind: BlockKind, text: str, at: str, expected: str) -> None:
    document = assembled(Piece(kind="title", text="List"), Piece(kind=kind, text=text))
    position = document.text.index(at)

    assert document.text[window_from(document.text, document.blocks, 0, len(document.text), position) :].startswith(
        expected
    )
