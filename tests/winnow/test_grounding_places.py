import pytest

from winnow.documents import Block, Box, Piece, assemble
from winnow.grounding import Grounder


def document(*pieces):
    return assemble(pieces, media_type="application/pdf", parser="test", pages=max(piece.page or 0 for piece in pieces))


def paragraph(text, page=1, box=None):
    return Piece(kind="paragraph", text=text, page=page, box=box)


def texts(text, evidence):
    return [text[place.start : place.end] for place in evidence.places]


def located(parsed, quote, **where):
    evidence = Grounder(parsed.text, parsed.blocks).locate(quote, **where)
    return evidence.mark, texts(parsed.text, evidence)


# Pieces


TERM = "The term begins on signing. It lasts, unless the parties agree otherwise, for five years. It may be renewed."


@pytest.mark.parametrize(
    "gap", ["...", "…", " ... ", "[...]", " [. . .] ", "(…)", "<omitted>", " [omitted] ", " * * * ", "***", ". . ."]
)
def test_each_piece_of_a_quote_gets_its_place(gap):
    evidence = Grounder(TERM, ()).locate(f"It lasts,{gap}for five years.")
    assert (evidence.mark, evidence.score) == ("exact", 1)
    assert texts(TERM, evidence) == ["It lasts,", "for five years."]


def test_dots_of_the_document_are_not_a_gap():
    text = "The fee is [***] dollars and more ... or less."
    assert texts(text, Grounder(text, ()).locate("fee is [***] dollars and more ... or")) == [
        "fee is [***] dollars and more ... or"
    ]


def test_the_mark_is_the_worst_of_the_pieces_and_the_score_their_mean():
    evidence = Grounder(TERM, ()).locate("IT LASTS ... unless the partie agree otherwise")
    assert evidence.mark == "approximate"
    assert texts(TERM, evidence) == ["It lasts", "unless the parties agree otherwise"]
    assert evidence.score == pytest.approx((7 * 1 + 29 * (1 - 1 / 29)) / 36)


@pytest.mark.parametrize(
    "quote",
    [
        pytest.param("It lasts ... for seven years", id="a piece is missing"),
        pytest.param("for five years ... It lasts", id="in another order"),
        pytest.param("It lasts ... yea", id="part of a word"),
        pytest.param("It lasts ... yeers", id="a single word is not guessed"),
    ],
)
def test_all_pieces_or_none(quote):
    assert Grounder(TERM, ()).locate(quote).mark == "absent"


@pytest.mark.parametrize(
    ("text", "quote"),
    [
        ("The Seller shall not be liable for it.", "The Seller shall ... be liable for it"),
        ("The Seller shall in no case be liable.", "The Seller shall […] be liable"),
        ("卖方不得转让本合同的权利", "卖方…得转让本合同的权利"),
    ],
)
def test_a_gap_hides_no_negation(text, quote):
    assert Grounder(text, ()).locate(quote).mark == "absent"


def test_pieces_stand_near_each_other():
    fee, more = "The fee is due.", "Other words. " * 50
    text = f"{fee} {more}The deposit of the tenant is lost. {fee} {more}{fee}"
    evidence = Grounder(text, ()).locate("The deposit of the tenant ... The fee is due")
    assert evidence.places[1].start == text.index("The fee", 20)
    evidence = Grounder(text, ()).locate("The fee ... The deposit of the tenant")
    assert evidence.places[0].start == 0


def test_a_repeated_piece_is_taken_where_the_others_are():
    often, far = "The deposit of the tenant is lost.", "Other words. " * 1_000
    text = f"{often} {far} The landlord decides. {often} {far} {often}"
    evidence = Grounder(text, ()).locate("The landlord decides ... The deposit of the tenant is lost")
    assert [place.start for place in evidence.places] == [text.index("The landlord"), text.index(often, 20)]
    evidence = Grounder(text, ()).locate("The deposit of the tenant is lost ... The landlord")
    assert evidence.mark == "absent"  # a word or two may stand anywhere
    evidence = Grounder(text, ()).locate("The deposit of the tenant is lost ... The landlord decides")
    assert [place.start for place in evidence.places] == [0, text.index("The landlord")]


def test_only_what_cannot_be_mistaken_stands_far_away():
    text = f"The effective date is that of signing. {'Other words. ' * 1_000} Signed on 5/11/2016 in Paris."
    assert texts(text, Grounder(text, ()).locate("The effective date ... 5/11/2016")) == [
        "The effective date",
        "5/11/2016",
    ]
    assert Grounder(text, ()).locate("The effective date ... Paris").mark == "absent"


# Which of several


def test_first_without_anything_to_be_near_to():
    assert Grounder("fee one fee two fee", ()).locate("fee").start == 0


@pytest.mark.parametrize(("near", "start"), [((0, 3), 0), ((9, 11), 8), ((14, 15), 16), ((15, 16), 16), ((90, 99), 16)])
def test_nearest_to_other_evidence(near, start):
    assert Grounder("fee one fee two fee", ()).locate("fee", near=[near]).start == start
    assert Grounder("fee one fee two fee", ()).locate("FEE", near=[near]).start == start


def test_nearest_of_several_neighbours():
    text = "fee " * 1_000
    assert Grounder(text, ()).locate("fee", near=[(2_001, 2_001), (3_200, 3_203)]).start in (2_000, 3_200)


def test_whole_words_before_nearer_parts_of_words():
    text = "an understanding. the misunderstandings"
    assert Grounder(text, ()).locate("understanding", near=[(30, 31)]).start == 3


def test_what_the_model_was_shown_comes_first():
    text = "The Fee is due. " * 3
    grounder = Grounder(text, ())
    assert grounder.locate("The Fee", within=(16, 40)).start == 16
    assert grounder.locate("the fee", within=(17, 48)).start == 32  # also where it stands otherwise outside
    assert grounder.locate("The Fee", within=(40, 48)).start == 0  # and elsewhere only if it is not there


def test_approximate_within_what_was_shown():
    text = "The Contractor delivers the goods. " * 2
    evidence = Grounder(text, ()).locate("The Contracter delivers the goods", within=(30, 70))
    assert (evidence.mark, evidence.start) == ("approximate", 35)


# Pages


def test_page_and_box_come_from_the_block():
    box = Box(x0=1, y0=2, x1=3, y1=4)
    parsed = document(paragraph("Agreement"), paragraph("Second   page", page=2, box=box))
    grounder = Grounder(parsed.text, parsed.blocks)
    first, second = grounder.locate("agreement"), grounder.locate("\n\nSecond")
    assert (first.page, first.places[0].boxes) == (1, ())
    assert (second.mark, second.page, second.places[0].boxes) == ("exact", 2, (box,))


def test_a_place_for_each_page():
    parsed = document(
        paragraph("One."), paragraph("The end of"), paragraph("a page. Next", page=2), paragraph("x", page=3)
    )
    evidence = Grounder(parsed.text, parsed.blocks).locate("One. The end of a page.")
    assert evidence.mark == "normalised"
    assert [(place.page, parsed.text[place.start : place.end]) for place in evidence.places] == [
        (1, "One.\n\nThe end of"),
        (2, "a page."),
    ]


def test_a_place_between_blocks_has_no_page():
    assert Grounder("one two", [Block(kind="paragraph", start=4, end=7, page=3)]).locate("one").page is None


def contract():
    pages = [
        "The Seller shall deliver the goods without undue de-",
        "lay to the place that the Buyer names, and shall bear",
        "the costs and the risks of carriage up to that place.",
    ]
    for number, text in enumerate(pages, 1):
        yield paragraph("Agreement of Sale", page=number)
        yield paragraph(text, page=number)
        yield paragraph(f"Page {number} of 3", page=number)


@pytest.mark.parametrize(
    ("quote", "mark", "found"),
    [
        pytest.param(
            "deliver the goods without undue delay to the place",
            "normalised",
            [(1, "deliver the goods without undue de-"), (2, "lay to the place")],
            id="a hyphen at the page's end",
        ),
        pytest.param(
            "shall bear the costs and the risks of carridge",
            "approximate",
            [(2, "shall bear"), (3, "the costs and the risks of carriage")],
            id="misspelt",
        ),
        pytest.param(
            "shall bear page 2 of 3 agreement of sale the costs",
            "normalised",
            [(2, "shall bear\n\nPage 2 of 3"), (3, "Agreement of Sale\n\nthe costs")],
            id="quoted with what stands between",
        ),
        pytest.param(
            "Now the Seller shall deliver to the place that the Buyr names",
            "absent",
            [],
            id="what is left out is not skipped",
        ),
        pytest.param("Page 2 of 3", "exact", [(2, "Page 2 of 3")], id="a footer itself"),
        pytest.param("undue delay ... and shall bear the costs", "normalised", None, id="pieces over pages"),
    ],
)
def test_heads_and_footers_do_not_interrupt_a_quote(quote, mark, found):
    parsed = document(*contract())
    evidence = Grounder(parsed.text, parsed.blocks).locate(quote)
    assert evidence.mark == mark
    if found is not None:
        assert [(place.page, parsed.text[place.start : place.end]) for place in evidence.places] == found


def test_what_stands_on_one_page_alone_is_no_footer():
    parsed = document(
        paragraph("The Seller shall"), paragraph("in no case"), paragraph("be liable for anything.", page=2)
    )
    assert located(parsed, "The Seller shall be liable to you") == ("absent", [])


# Boxes


def word_boxes(text, *, y, start=0):
    """A box for each word of a line, ten points to a letter."""
    at = 0
    for word in text.split():
        at = text.index(word, at)
        yield (start + at, start + at + len(word), at * 10.0, y, (at + len(word)) * 10.0, y + 10.0)
        at += len(word)


LINES = ["The Seller bears", "the costs of it"]


def lines_of_words(*, page=1, box=None):
    text = "\n".join(LINES)
    words = (*word_boxes(LINES[0], y=100.0), *word_boxes(LINES[1], y=112.0, start=len(LINES[0]) + 1))
    return Block(kind="paragraph", start=0, end=len(text), page=page, words=words, box=box), text


def test_a_box_for_each_line():
    block, text = lines_of_words(box=Box(x0=0, y0=0, x1=999, y1=999))
    place = Grounder(text, [block]).locate("seller bears the costs").places[0]
    assert place.boxes == (Box(x0=40, y0=100, x1=160, y1=110), Box(x0=0, y0=112, x1=90, y1=122))


def test_a_part_of_a_word_has_the_words_box():
    text = "Nonnegotiables"
    block = Block(kind="title", start=0, end=14, page=1, words=((0, 14, 0.0, 0.0, 140.0, 10.0),))
    assert Grounder(text, [block]).locate("negotiable").places[0].boxes == (Box(x0=0, y0=0, x1=140, y1=10),)


def test_words_of_one_line_may_differ_in_height():
    text = "a Big word"
    words = ((0, 1, 0.0, 4.0, 5.0, 10.0), (2, 5, 8.0, 0.0, 30.0, 10.0), (6, 10, 33.0, 3.0, 60.0, 11.0))
    block = Block(kind="title", start=0, end=10, page=1, words=words)
    assert Grounder(text, [block]).locate("a big word").places[0].boxes == (Box(x0=0, y0=0, x1=60, y1=11),)


def test_boxes_of_blocks_with_and_without_words():
    block, text = lines_of_words()
    box = Box(x0=1, y0=2, x1=3, y1=4)
    after = Block(kind="paragraph", start=len(text) + 2, end=len(text) + 10, page=1, box=box)
    evidence = Grounder(f"{text}\n\nand more", [block, after]).locate("of it and more")
    assert evidence.places[0].boxes == (Box(x0=100, y0=112, x1=150, y1=122), box)
