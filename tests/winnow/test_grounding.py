import re
import threading
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from winnow.grounding import Grounder


def locate(text, quote):
    return Grounder(text, ()).locate(quote)


def words(text, evidence):
    return None if evidence.start is None else text[evidence.start : evidence.end]


@pytest.mark.parametrize(
    ("text", "quote", "start"),
    [
        pytest.param("one two three", "two", 4, id="inside"),
        pytest.param("two two", "two", 0, id="first of several"),
        pytest.param("2012, then 12 months", "12", 11, id="whole words before parts of words"),
        pytest.param("Articles and Art", "Art", 13, id="whole word at the end"),
        pytest.param(
            "the misunderstanding", "understanding", 7, id="a long part of a word where there is no better place"
        ),
        pytest.param("cafe\u0301 and cafe", "cafe", 10, id="not a letter without its combining mark"),
        pytest.param("one\n two ", "\n two ", 3, id="white space is part of the quote"),
        pytest.param("one two", "  two\n", 4, id="white space around the quote is not"),
        pytest.param("1.50, from 10-12 to 1, or 12.", "12", 14, id="a number before a dash and parts of numbers"),
        pytest.param("Das Maß: 5€", "5€", 9, id="sign"),
        pytest.param("双方协议于二〇二四年签署。", "二〇二四年", 5, id="Chinese"),
        pytest.param("وقعت الاتفاقية في عمان", "الاتفاقية", 5, id="Arabic"),
        pytest.param("family 👨‍👩‍👧 of three", "👨‍👩‍👧 of", 7, id="emoji joined by zero-width joiners"),
        pytest.param("{x.__class__} {{7*7}} .* \\d", "{{7*7}} .* \\d", 14, id="nothing is a pattern"),
    ],
)
def test_exact(text, quote, start):
    found = locate(text, quote)
    wanted = quote if quote in text else quote.strip()
    assert (found.mark, found.start, found.end) == ("exact", start, start + len(wanted))
    assert found.quote == quote


@pytest.mark.parametrize(
    ("text", "quote", "found"),
    [
        pytest.param("This AGREEMENT binds", "this agreement", "This AGREEMENT", id="case"),
        pytest.param("a  term of\n  two\tyears", "term of two years", "term of\n  two\tyears", id="white space"),
        pytest.param("a term of\r\ntwo years", "term of two years", "term of\r\ntwo years", id="CRLF"),
        pytest.param(
            "price:\u00a010\u202f000 EUR", "price: 10 000 EUR", "price:\u00a010\u202f000 EUR", id="narrow spaces"
        ),
        pytest.param("end\n\nnext", "End next", "end\n\nnext", id="across paragraphs"),
        pytest.param(
            "the agree-\nment of", "the agreement of", "the agree-\nment of", id="hyphenated, quoted in one word"
        ),
        pytest.param("the agree-\nment of", "the agree-ment of", "the agree-\nment of", id="hyphenated, hyphen kept"),
        pytest.param("the agree- ment of", "the agreement of", "the agree- ment of", id="hyphenated, line break lost"),
        pytest.param(
            "the agree\u00ad\nment", "the agreement", "the agree\u00ad\nment", id="soft hyphen at a line's end"
        ),
        pytest.param("the agree\u00adment", "the agreement", "the agree\u00adment", id="soft hyphen"),
        pytest.param(
            "agree-\nment, a well-\nknown one", "agreement, a well-known one", None, id="both kinds of hyphen"
        ),
        pytest.param("agree-\nment, a well-known one", "agreement, a well-known one", None, id="one kept, one joined"),
        pytest.param("the agree-\nment", "Agree-\nment", "agree-\nment", id="hyphenated quote"),
        pytest.param("the agreement", "the agree-\nment", "the agreement", id="only the quote is hyphenated"),
        pytest.param("from 10–12 May", "from 10-12 May", "from 10–12 May", id="en dash"),
        pytest.param("the law—as it is", "the law - as it is", "the law—as it is", id="em dash, spaced"),
        pytest.param("the law -- as it is", "the law – as it is", "the law -- as it is", id="two hyphens"),
        pytest.param("15 or −5 degrees", "-5", "−5", id="minus sign"),
        pytest.param("say “Yes”, or", 'say "Yes", or', "say “Yes”, or", id="curly quotes"),
        pytest.param("say “Yes”, or", "'yes'", "“Yes”", id="quotes around"),
        pytest.param("the «Seller» and", "the 'Seller' and", "the «Seller» and", id="guillemets"),
        pytest.param("the ``Seller'' and", 'the "Seller" and', "the ``Seller'' and", id="TeX quotes"),
        pytest.param("the Seller’s duty", "the Seller's duty", "the Seller’s duty", id="apostrophe"),
        pytest.param("the Seller pays", '"the Seller pays"', "the Seller pays", id="quotes that only the model wrote"),
        pytest.param("the Seller pays", "“...the Seller pays…”", "the Seller pays", id="ellipses around"),
        pytest.param("the Seller pays", "[...] the Seller pays [. . .]", "the Seller pays", id="ellipses in brackets"),
        pytest.param("wait … for it", "wait ... for it", "wait … for it", id="ellipsis"),
        pytest.param("wait . . . for it", "wait... for it", None, id="ellipsis spaced otherwise"),
        pytest.param(
            "Scope ............ 12", "Scope ..... 12", "Scope ............ 12", id="dots of a table of contents"
        ),
        pytest.param("• first\n• second", "- first - second", "• first\n• second", id="bullets"),
        pytest.param("an eﬃcient oﬃce", "efficient office", "eﬃcient oﬃce", id="ligatures"),
        pytest.param("an eﬃcient oﬃce", "icient of", "ﬃcient oﬃ", id="half a ligature counts as a whole"),
        pytest.param("eine lange Straße", "STRASSE", "Straße", id="ß"),
        pytest.param("eine lange STRASSE", "Straße", "STRASSE", id="ß to SS"),
        pytest.param("xxİİİ İstanbul'da", "i̇stanbul'da", "İstanbul'da", id="İ grows when folded"),
        pytest.param("ISPARTA ılıca", "ısparta ILICA", "ISPARTA ılıca", id="dotless ı"),
        pytest.param("cafe\u0301 noir", "caf\u00e9 Noir", "cafe\u0301 noir", id="decomposed document"),
        pytest.param("Cafe\u0301s caf\u00e9 noir", "CAFE\u0301 noir", "caf\u00e9 noir", id="decomposed quote"),
        pytest.param("Hợp đồng này", unicodedata.normalize("NFD", "HỢP ĐỒNG"), "Hợp đồng", id="two marks on a letter"),
        pytest.param(
            unicodedata.normalize("NFD", "서울 특별시"),
            "서울",
            unicodedata.normalize("NFD", "서울"),
            id="Korean letters",
        ),
        pytest.param("ｶﾞｲﾄﾞ 123", "ガイド １２３", "ｶﾞｲﾄﾞ 123", id="half and full width"),
        pytest.param("本协议由\n双方签署", "本协议由双方签署", "本协议由\n双方签署", id="Chinese line break"),
        pytest.param("使用 Python 编程", "使用python编程", "使用 Python 编程", id="Chinese with spaced Latin"),
        pytest.param("第１条，甲方", "第1条,甲方", "第１条，甲方", id="full-width digits and comma"),
        pytest.param("ข้อตก\nลงนี้", "ข้อตกลงนี้", "ข้อตก\nลงนี้", id="Thai line break"),
        pytest.param("ﺍﻻﺗﻔﺎﻗﻴﺔ بين", "الاتفاقية", "ﺍﻻﺗﻔﺎﻗﻴﺔ", id="Arabic presentation forms"),
        pytest.param("العـــقد موقع", "العقد", "العـــقد", id="Arabic stretch"),
        pytest.param("می\u200cخواهم رفت", "میخواهم رفت", "می\u200cخواهم رفت", id="zero-width non-joiner"),
        pytest.param("\ufeffin\u200bvoice \u202a42\u202c!", "INVOICE 42", None, id="hidden characters"),
        pytest.param("ok 👍🏽 signed", "OK 👍🏽 Signed", "ok 👍🏽 signed", id="emoji"),
        pytest.param("see ① and ½", "See 1 and 1⁄2", "see ① and ½", id="compatibility characters"),
    ],
)
def test_normalised(text, quote, found):
    evidence = locate(text, quote)
    assert evidence.mark == "normalised"
    if found is not None:
        assert words(text, evidence) == found


@pytest.mark.parametrize(
    ("text", "quote"),
    [
        pytest.param("one two", "three", id="not there"),
        pytest.param("one two", "", id="empty"),
        pytest.param("one  - two", " - ", id="no letter or digit"),
        pytest.param("one … two", "“…”", id="marks alone"),
        pytest.param("understated", "stat", id="a short part of a word"),
        pytest.param("The tenant often pays.", "ten", id="a short word that begins others"),
        pytest.param("a fee of $2,000,000", "a fee of $2,000", id="a part of an amount"),
        pytest.param("a fee of 1.5 million", "5 million", id="the end of an amount"),
        pytest.param("dated as of May 15", "dated as of May 1", id="a part of a date"),
        pytest.param("Under SECTION 4.2.1 it is", "under Section 4.2", id="a part of a section's number"),
        pytest.param("期限为二十年整", "十年整", id="a part of a number in Chinese"),
        pytest.param("the years 10-12", "1012", id="digits are not hyphenated"),
        pytest.param("the years 10-\n12", "1012", id="nor at a line's end"),
        pytest.param("they re-sign it", "they resign it", id="a hyphen in a line makes another word"),
        pytest.param("they resign it", "they re-sign it", id="a hyphen that is not there"),
        pytest.param("it is now here", "it is nowhere", id="a space that is not there"),
        pytest.param("they know", "No", id="a short word inside another one"),
        pytest.param("they know", "no", id="a short word inside another one, word for word"),
        pytest.param("5 degrees", "−5", id="a minus that is not there"),
        pytest.param("كتب", "كتـاب", id="another Arabic word"),
        pytest.param("abc", "ـ", id="nothing is left of it"),
        pytest.param("abc", "ـ'", id="nothing but a mark is left of it"),
        pytest.param("", "a", id="empty document"),
    ],
)
def test_absent(text, quote):
    evidence = locate(text, quote)
    assert evidence.mark == "absent"
    assert evidence.quote == quote
    assert (evidence.start, evidence.end, evidence.page, evidence.score) == (None, None, None, 0)


def test_a_long_quote_may_begin_and_end_inside_words():
    text = "of theAgreement,\nas amended1 by"
    assert words(text, locate(text, "Agreement, as amended")) == "Agreement,\nas amended"


def test_hyphen_marks_a_whole_word():
    text = "nonsense, Non-\n EXCLUSIVE self-SERVE"
    assert words(text, locate(text, "serve")) == "SERVE"


def test_threads_share_a_grounder():
    text = "word  " * 2_000 + "the   last one"
    grounder = Grounder(text, ())
    found = []
    threads = [threading.Thread(target=lambda: found.append(grounder.locate("The last one").start)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [text.index("the ")] * 8


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("text", "quote"),
    [
        pytest.param(" " * 500_000 + "- a", "a b", id="spaces"),
        pytest.param("a" * 500_000, "a-" + "a" * 500, id="one letter"),
        pytest.param("a" + "\u0301\u0323" * 250_000, "a\u0323b", id="combining marks"),
        pytest.param(". " * 250_000, ".a.", id="dots"),
        pytest.param("know " * 100_000, "No", id="a short word inside many"),
        pytest.param("a\u200b" * 250_000, "b", id="zero-width"),
    ],
)
def test_no_text_holds_up_a_run(text, quote):
    assert locate(text, quote).mark == "absent"


any_text = st.text(st.characters(exclude_categories=()), max_size=60)  # with lone surrogates
some_text = st.text("aB1é ßİı'\"“-\u00ad\n\t.…ﬁ\u0301\u200b中ก가ع,", max_size=60)


def _ends_of_words(text):
    return [0, *(match.start() for match in re.finditer(r"(?<=\s)(?=\S)|(?<=\S)(?=\s)", text)), len(text)]


@settings(deadline=None, database=None)
@given(some_text | any_text, st.data())
def test_any_words_of_a_text_are_found_exactly(text, data):
    start, end = sorted(data.draw(st.lists(st.sampled_from(_ends_of_words(text)), min_size=2, max_size=2)))
    quote = text[start:end]
    evidence = locate(text, quote)
    if any(character.isalnum() for character in quote):
        assert evidence.mark == "exact"
        assert words(text, evidence) == quote
    else:
        assert evidence.mark == "absent"


@settings(max_examples=300, deadline=None, database=None)
@given(some_text | any_text, some_text | any_text)
@example("ﷺ", "صلى")
@example("\u115f\u1160", "\u3164")
@example("-a", "-\u0301a")
def test_never_raises_and_every_place_is_in_the_text(text, quote):
    evidence = locate(text, quote)
    if evidence.mark == "absent":
        assert evidence.start is None
    else:
        assert evidence.start is not None
        assert evidence.end is not None
        assert 0 <= evidence.start < evidence.end <= len(text)


_WORD = st.text(st.characters(categories=("Lu", "Ll", "Nd"), max_codepoint=0x24F), min_size=2, max_size=8).filter(
    lambda word: word.upper().casefold() == word.casefold() == word.lower()
)


def _apart(listed):
    """No word stands inside another one, where it would be found exactly."""
    return not any(one != other and one.casefold() in other.casefold() for one in listed for other in listed)


_WORDS = st.lists(_WORD, min_size=1, max_size=8, unique_by=str.casefold).filter(_apart)


def _noisy(draw, chosen):
    quote = ""
    for word in chosen:
        gap = draw(st.sampled_from([" ", "  ", "\n", "\u00a0", "\r\n ", "\t"])) if quote else ""
        quote += gap + draw(st.sampled_from([word, word.upper(), word.lower(), "\u00ad".join(word), f"\u200b{word}"]))
    return draw(st.sampled_from(["{}", "“{}”", "'{}'", "«{}", "...{}", "{}…", "  {}\n"])).format(quote)


@settings(max_examples=300, deadline=None, database=None)
@given(_WORDS, st.data())
def test_a_noisy_quote_leads_to_the_right_words(listed, data):
    text = " ".join(listed)
    first = data.draw(st.integers(0, len(listed) - 1))
    last = data.draw(st.integers(first + 1, len(listed)))
    evidence = locate(text, _noisy(data.draw, listed[first:last]))
    assert evidence.mark in ("exact", "normalised")
    assert words(text, evidence) == " ".join(listed[first:last])


@settings(max_examples=300, deadline=None, database=None)
@given(_WORDS, st.data())
def test_a_noisy_document_leads_to_the_right_words(listed, data):
    text = " , ".join(_noisy(data.draw, [word]) for word in listed)
    wanted = data.draw(st.sampled_from(listed))
    found = words(text, locate(text, wanted))
    assert found is not None
    assert re.sub("[\u00ad\u200b]", "", found).casefold() == wanted.casefold()
