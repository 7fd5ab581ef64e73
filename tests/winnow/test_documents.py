"""One text of many pieces: every block is where it says, and nothing is in it that a store would refuse."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from winnow.documents import (
    SEPARATOR,
    Block,
    Box,
    ParsedDocument,
    Piece,
    Word,
    assemble,
    block_at,
    clean_text,
    text_hash,
)
from winnow.exceptions import DocumentError

BOX = Box(x0=72, y0=90, x1=540, y1=104)
CONTROLS = {*map(chr, range(32)), "\x7f"} - {"\t", "\n"}
TEXTS = st.text(st.characters() | st.sampled_from("\0\x07\t\n\r\v\f\x7f\ud800\udfff \u00a0\ufeff"), max_size=30)
KINDS = st.sampled_from(["title", "paragraph", "list_item", "table"])
PIECES = st.lists(st.builds(Piece, kind=KINDS, text=TEXTS, page=st.none() | st.integers(1, 9)), max_size=8)


def assembled(*texts: str) -> ParsedDocument:
    pieces = [Piece(kind="paragraph", text=text) for text in texts]
    return assemble(pieces, media_type="text/plain", parser="tested 1.0")


def block_texts(document: ParsedDocument) -> list[str]:
    return [document.text[block.start : block.end] for block in document.blocks]


# Clean text


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        pytest.param("a\0b", "ab", id="NUL"),
        pytest.param("a\x01\x08\x0e\x1f\x7fb", "ab", id="controls"),
        pytest.param("a\tb\nc", "a\tb\nc", id="tab and newline stay"),
        pytest.param("a\r\nb\rc", "a\nb\nc", id="line ends of Windows and old Macs"),
        pytest.param("a\r\r\nb", "a\n\nb", id="line ends of both"),
        pytest.param("one\ftwo\vthree", "one\ntwo\nthree", id="ends of pages and lines part words"),
        pytest.param("a\ud83d b\ude00", "a b", id="halves of pairs"),
        pytest.param("🙂 𝔘 \u200b\u202e\ufeff é e\u0301", "🙂 𝔘 \u200b\u202e\ufeff é e\u0301", id="all else stays"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_text_is_cleaned_of_what_no_store_takes(given_text: str, expected: str) -> None:
    assert clean_text(given_text) == expected


@settings(deadline=None, database=None)
@given(text=TEXTS)
def test_clean_text_can_be_stored_and_is_clean_already(text: str) -> None:
    clean = clean_text(text)

    assert clean.encode("utf-8").decode("utf-8") == clean  # fails for half a surrogate pair
    assert not CONTROLS & set(clean)
    assert clean_text(clean) == clean


# Pieces in one text


def test_pieces_become_blocks_with_their_places() -> None:
    document = assemble(
        [
            Piece(kind="title", text="Grant letter", page=1, box=BOX),
            Piece(kind="paragraph", text=" The sum is 500 EUR.\n", page=1),
            Piece(kind="table", text="Year\tSum\n2024\t500", page=2),
        ],
        media_type="application/pdf",
        parser="tested 1.0",
        pages=2,
    )

    assert document.text == "Grant letter\n\nThe sum is 500 EUR.\n\nYear\tSum\n2024\t500"
    assert document.blocks == (
        Block(kind="title", start=0, end=12, page=1, box=BOX),
        Block(kind="paragraph", start=14, end=33, page=1),
        Block(kind="table", start=35, end=52, page=2),
    )
    assert (document.media_type, document.parser, document.pages, document.words) == (
        "application/pdf",
        "tested 1.0",
        2,
        11,
    )


def test_pieces_without_text_leave_no_gap() -> None:
    document = assembled("", "one", " \n ", "\0", "two", "")

    assert document.text == "one\n\ntwo"
    assert block_texts(document) == ["one", "two"]


@pytest.mark.parametrize(
    "texts", [(), ("",), (" ", "\n\t"), ("\0", "\ud800"), ("—", "…", "***"), ("\ufeff", "\u200b")], ids=repr
)
def test_what_holds_no_letter_or_digit_has_no_text(texts: tuple[str, ...]) -> None:
    with pytest.raises(DocumentError) as raised:
        assembled(*texts)
    assert raised.value.reason == "no_text"


@pytest.mark.parametrize("text", ["a", "7", "é", "日", "م", "— x —", "½"])
def test_one_letter_or_digit_of_any_script_is_text(text: str) -> None:
    assert assembled(text).text == text


@settings(deadline=None, database=None)
@given(pieces=PIECES)
def test_blocks_are_the_pieces_in_order_and_make_up_the_whole_text(pieces: list[Piece]) -> None:
    try:
        document = assemble(pieces, media_type="text/plain", parser="tested 1.0")
    except DocumentError:
        assert not any(character.isalnum() for piece in pieces for character in clean_text(piece.text))
        return
    kept = [piece for piece in pieces if clean_text(piece.text).strip()]

    assert block_texts(document) == [clean_text(piece.text).strip() for piece in kept]
    assert [(block.kind, block.page) for block in document.blocks] == [(piece.kind, piece.page) for piece in kept]
    assert SEPARATOR.join(block_texts(document)) == document.text
    assert all(before.end < after.start for before, after in zip(document.blocks, document.blocks[1:], strict=False))


# Words with boxes

PLACE = (72.0, 90.0, 99.5, 104.0)


def words_of(text: str) -> tuple[Word, ...]:
    return tuple((*match.span(), *PLACE) for match in re.finditer(r"[^\s\0]+", text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("one two", ["one", "two"], id="nothing to change"),
        pytest.param(" \n one two\n", ["one", "two"], id="stripped"),
        pytest.param("\0one\0\0 \0two\0", ["one", "two"], id="NUL"),
        pytest.param("one\r\ntwo\r\n\r\nthree\rfour", ["one", "two", "three", "four"], id="line ends"),
        pytest.param("o\x01ne tw\ud800o", ["one", "two"], id="within a word"),
        pytest.param("one \x01 two", ["one", "two"], id="a word of which nothing is left"),
    ],
)
def test_words_stay_at_their_places_when_the_text_is_cleaned(text: str, expected: list[str]) -> None:
    piece = Piece(kind="paragraph", text=text, page=1, words=words_of(text))
    before = Piece(kind="title", text="Before")
    document = assemble([before, piece], media_type="application/pdf", parser="tested 1.0")
    block = document.blocks[1]
    in_block = document.text[block.start : block.end]

    assert [in_block[start:end] for start, end, *_ in block.words] == expected
    assert {word[2:] for word in block.words} == {PLACE}


@settings(deadline=None, database=None)
@given(text=TEXTS)
def test_words_at_their_places_are_the_words_cleaned(text: str) -> None:
    words = words_of(text)
    try:
        document = assemble(
            [Piece(kind="paragraph", text=text, words=words)], media_type="text/plain", parser="tested 1.0"
        )
    except DocumentError:
        return
    cleaned = [clean_text(text[start:end]) for start, end, *_ in words]

    assert [document.text[start:end] for start, end, *_ in document.blocks[0].words] == [
        word for word in cleaned if word
    ]


# Hashes and words


def test_the_hash_is_of_the_text_in_utf_8() -> None:
    assert text_hash("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert text_hash("Gebühr") == "30d4d5edcc8328689e33b7664183685ab383eaf28be1186e0cd49897b4a91206"
    assert assembled("Gebühr").text_hash == text_hash("Gebühr")


def test_the_hash_tells_texts_apart_and_parsers_not() -> None:
    as_text = assembled("One text.")
    as_pdf = assemble(
        [Piece(kind="title", text="One text.", page=1, box=BOX)],
        media_type="application/pdf",
        parser="another",
        pages=1,
    )

    assert as_text.text_hash == as_pdf.text_hash
    assert assembled("One text").text_hash != as_text.text_hash


def test_words_are_split_at_white_space() -> None:
    assert assembled("one two", "three\tfour\nfive", "e-mail\u00a0six").words == 7


# The block at a place


def test_the_block_at_a_character_and_none_between_blocks() -> None:
    blocks = assembled("one", "two").blocks  # "one\n\ntwo"

    assert [block_at(blocks, position) for position in range(-1, 9)] == [
        None, *[blocks[0]] * 3, None, None, *[blocks[1]] * 3, None,
    ]  # fmt: skip


def test_no_block_is_at_any_place_where_there_are_none() -> None:
    assert block_at((), 0) is None


@settings(deadline=None, database=None)
@given(
    texts=st.lists(st.text("ab \n", min_size=1, max_size=6), min_size=1, max_size=9).filter(
        lambda texts: any(map(str.strip, texts))
    )
)
@example(texts=["a", "b"])
def test_every_character_of_a_block_finds_it(texts: list[str]) -> None:
    document = assembled(*texts)
    found = [block_at(document.blocks, position) for position in range(len(document.text))]

    for position, block in enumerate(found):
        holding = [held for held in document.blocks if held.start <= position < held.end]
        assert [block] == (holding or [None])
