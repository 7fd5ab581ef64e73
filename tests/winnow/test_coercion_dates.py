import subprocess
import sys
from datetime import date

import pytest
from babel.dates import format_date
from hypothesis import given, settings
from hypothesis import strategies as st

from winnow.codebook import Variable
from winnow.coercion import CoercionError, Conventions, coerce

DATE = Variable(name="v", type="date", instructions="i")


def read(raw, language=None, order=None):
    return coerce(raw, DATE, Conventions(language, order))


@pytest.mark.parametrize(
    ("raw", "language", "value"),
    [
        ("le 1er mai 2006", "French", "2006-05-01"),
        ("31 mars 2006", "French", "2006-03-31"),
        ("lundi 1 mai 2006", "French", "2006-05-01"),
        ("1. März 2021", "German", "2021-03-01"),
        ("1.März 2021", "German", "2021-03-01"),
        ("MÄRZ 2021", "German", "2021-03"),
        ("12 de mayo de 2006", "Spanish", "2006-05-12"),
        ("12 mayo 2006", "Spanish", "2006-05-12"),
        ("mayo de 2006", "Spanish", "2006-05"),
        ("1º de maio de 2006", "pt-BR", "2006-05-01"),
        ("1 мая 2006 г.", "Russian", "2006-05-01"),
        ("1 мая 2006", "Russian", "2006-05-01"),
        ("май 2006", "Russian", "2006-05"),
        ("1 listopada 2006", "Polish", "2006-11-01"),
        ("1. listopada 2006.", "Croatian", "2006-10-01"),
        ("2006. gada 1. maijs", "Latvian", "2006-05-01"),
        ("2006년 5월 1일", "Korean", "2006-05-01"),
        ("2006. 5. 1.", "Korean", "2006-05-01"),
        ("١ مايو ٢٠٠٦", "Arabic", "2006-05-01"),
        ("1 มีนาคม ค.ศ. 2021", "Thai", "2021-03-01"),
        ("12 May 2006", "German", "2006-05-12"),
        ("1 mai 2006", "German, French", "2006-05-01"),
        ("Monday, 1 May 2006", None, "2006-05-01"),
        ("Monday, May 1, 2006", None, "2006-05-01"),
        ("05/2006", None, "2006-05"),
    ],
)
def test_forms_of_the_language(raw, language, value):
    assert read(raw, language) == value


@pytest.mark.parametrize(
    ("raw", "order", "value"),
    [
        ("03/04/2006", "DMY", "2006-04-03"),
        ("03/04/2006", "MDY", "2006-03-04"),
        ("3.4.2006", "DMY", "2006-04-03"),
        ("3. 4. 2006", "DMY", "2006-04-03"),
        ("31-12-2006", "DMY", "2006-12-31"),
        ("12/31/2006", "MDY", "2006-12-31"),
        ("2006/04/03", "DMY", "2006-04-03"),
        ("2006/04/03", "YMD", "2006-04-03"),
    ],
)
def test_declared_order(raw, order, value):
    assert read(raw, order=order) == value


@pytest.mark.parametrize(
    ("raw", "order", "said"),
    [
        ("31/12/2006", "MDY", "has no month 31: the codebook's date_order is MDY"),
        ("12/31/2006", "DMY", "has no month 31: the codebook's date_order is DMY"),
        ("03/04/2006", "YMD", "has its year last, but the codebook's date_order is YMD"),
        ("03/04/2006", None, "could have its day or its month first"),
        ("03.04.06", "DMY", "has no year of four digits"),
        ("06/04/03", "YMD", "has no year of four digits"),
        ("32/32/2006", "DMY", "does not exist"),
        ("Tuesday, 1 May 2006", None, "names another day of the week"),
        ("令和3年3月1日", None, "another calendar"),
        ("1 มีนาคม พ.ศ. 2564", None, "another calendar"),
        ("12 رمضان 1445 هـ", None, "another calendar"),
        ("1445 AH", None, "another calendar"),
    ],
)
def test_why_it_is_refused(raw, order, said):
    with pytest.raises(CoercionError, match=said):
        read(raw, order=order)


@pytest.mark.parametrize(
    ("raw", "language"), [("1 มีนาคม 2564", "Thai"), ("2564-03-01", "th"), ("1400-01-05", "Persian"), ("1445", "ar")]
)
def test_a_year_that_the_language_counts_otherwise_is_refused(raw, language):
    with pytest.raises(CoercionError, match="may have its year in another calendar"):
        read(raw, language)


@pytest.mark.parametrize("language", [None, "English", "German", "French, Thai", "ja"])
@pytest.mark.parametrize("order", [None, "DMY", "YMD"])
@pytest.mark.parametrize(
    "raw",
    [
        "tomorrow", "demain", "12", "May", "mai", "12 May", "1. März", "1. März 21", "May 06", "31 June 2006",
        "spring 2006", "Q1 2006", "2006 Q1", "early 2006", "2006 was a good year", "in May 2006 or so", "mid-May 2006",
        "between 1 May 2006 and 2 May 2006", "1 May 2006 1 May 2006", "May 1-5, 2006", "1/2/3", "2006-2007",
        "last year", "12:30", "10 days after signing", "44 BC", "2006 BC", "May 12006", "1 maggio 2006", "Monday 2006",
        "5 May 2006 12",
    ],
)  # fmt: skip
def test_nothing_is_filled_in(raw, order, language):
    with pytest.raises(CoercionError):
        read(raw, language, order)


ORDERS = {"cs": "DMY", "pt_PT": "DMY", "fi": "DMY", "de": "DMY", "bg": "DMY", "ar": "DMY"}
LOCALES = "en en_GB fr es it pt nl pl ru uk sv da nb hu ro tr el hr lt lv he hi ta vi id zh ja ko ka uz ca eu"


@settings(deadline=None, database=None, max_examples=500)
@given(
    st.dates(min_value=date(1000, 1, 1)),
    st.sampled_from([*LOCALES.split(), *ORDERS]),
    st.sampled_from(["long", "medium", "full"]),
)
def test_every_formatted_date_is_read_back(day, locale, form):
    raw = format_date(day, form, locale=locale)
    if locale in ("he", "ar") and day.year in (*range(1300, 1500), *range(5600, 6000)):
        return  # may be another calendar
    assert read(raw, locale.replace("_", "-"), ORDERS.get(locale)) == day.isoformat()


def test_nothing_is_loaded_for_plain_values():
    code = (
        "import sys; from winnow.codebook import Variable; from winnow.coercion import coerce\n"
        "for kind, raw in (('date', '2006-05-01'), ('number', '1,250.5'), ('boolean', 'yes')):\n"
        "    coerce(raw, Variable(name='v', type=kind, instructions='i'))\n"
        "print({'babel', 'pint', 'text_to_num'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
