"""The estimate of tokens is near what real vocabularies give, and quick on any text."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from winnow.tokens import count_tokens

ENGLISH = (
    "This Agreement shall commence on the Effective Date and continue for a period of three (3) years, unless "
    "terminated earlier in accordance with Section 12.2. Either party may terminate upon sixty (60) days' written "
    "notice."
)
GERMAN = (
    "Die Zuwendungsempfängerin verpflichtet sich, die Fördermittel ausschließlich für den im Antrag beschriebenen "
    "Zweck zu verwenden und innerhalb von sechs Monaten einen Verwendungsnachweis vorzulegen."
)
CHINESE = "本合同自双方签字盖章之日起生效，有效期为三年。任何一方如欲提前终止合同，应当提前六十日以书面形式通知对方。"
RUSSIAN = "Настоящий договор вступает в силу с момента его подписания и действует в течение трёх лет."
TABLE = "Year\tRegion\tSum\n2019\tNorth\t1,204,000.50\n2020\tSouth\t980,100.00\n2021\tEast\t77,003.25\n"


@pytest.mark.parametrize(
    ("text", "least", "most"),  # what three vocabularies in use give, o200k_base to Tekken and SmolLM2's
    [
        pytest.param(ENGLISH, 46, 48, id="english"),
        pytest.param(GERMAN, 36, 41, id="german"),
        pytest.param(CHINESE, 42, 51, id="chinese"),
        pytest.param(RUSSIAN, 22, 28, id="russian"),
        pytest.param(TABLE, 41, 61, id="table"),
    ],
)
def test_the_estimate_is_near_what_vocabularies_in_use_give(text: str, least: int, most: int) -> None:
    assert 0.9 * least <= count_tokens(text) <= 1.25 * most


def test_no_text_has_no_tokens() -> None:
    assert count_tokens("") == 0


@settings(deadline=None, database=None)
@given(text=st.text(max_size=80))
def test_there_is_a_token_in_every_word_and_none_without_a_character(text: str) -> None:
    assert len(text.split()) <= count_tokens(text) <= len(text)


@pytest.mark.parametrize("text", ["a", " ", "\n", ".", "9", "字", "ไ", "word, ", " \n\t", "A"], ids=repr)
def test_a_long_text_is_counted_in_a_time_that_grows_with_it(text: str) -> None:
    long = (text * 2_000_000)[:2_000_000]
    began = time.perf_counter()

    assert 0 < count_tokens(long) <= len(long)
    assert time.perf_counter() - began < 3  # it takes a tenth of a second
