"""Codebooks as files: what YAML says, what it seems to say, and where the mistakes are."""

from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tasks.read_codebook import read_codebook
from winnow.codebook import Codebook
from winnow.exceptions import CodebookError, DefinitionError

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "codebook.yaml"


def read(path: Path, text: str | bytes) -> Codebook:
    path.write_bytes(text if isinstance(text, bytes) else dedent(text).encode())
    return read_codebook(path)


def problems(path: Path, text: str | bytes) -> list[str]:
    with pytest.raises(CodebookError) as raised:
        read(path, text)
    assert raised.value.source == str(path)
    return raised.value.problems


def variable(path: Path, **more: str) -> Any:
    """The variable of a codebook whose keys are written as given."""
    written = "".join(f"    {key}: {value}\n" for key, value in more.items())
    return read(path, f"project: p\nvariables:\n  - name: v\n    instructions: i\n{written}").variables[0]


# What is read


def test_the_bundled_codebook_is_read() -> None:
    codebook = read_codebook(EXAMPLES / "grants" / "codebook.yaml")

    assert codebook.project == "grants"
    assert len(codebook.variables) > 5


def test_a_path_may_be_text(path: Path) -> None:
    assert read(path, "project: p").project == read_codebook(str(path)).project == "p"


def test_json_is_yaml_too(path: Path) -> None:
    assert read(path, '{"project": "p", "variables": []}').project == "p"


def test_a_byte_order_mark_and_windows_line_ends_are_no_part_of_it(path: Path) -> None:
    text = (
        b"\xef\xbb\xbfproject: p\r\nvariables:\r\n  - name: v\r\n    type: text\r\n    instructions: |\r\n      One\r\n"
    )

    assert read(path, text).variables[0].instructions == "One"


def test_every_script_is_read(path: Path) -> None:
    assert read(path, "project: 補助金 Förderung منحة\ndescription: 🙂 ≠ 𝔘\n").description == "🙂 ≠ 𝔘"


def test_anchors_save_repetition(path: Path) -> None:
    codebook = read(
        path,
        """\
        project: p
        variables:
          - {name: a, type: text, instructions: i, examples: &same [one, two]}
          - {name: b, type: text, instructions: i, examples: *same}
        """,
    )

    assert codebook.variables[0].examples == codebook.variables[1].examples == ("one", "two")


# What YAML takes for something else than the author wrote


def test_limits_and_defaults_of_dates_stay_as_written(path: Path) -> None:
    dates = variable(path, type="date", validation="{min: 2024-01-31, max: 2024-12-31}", default="2024-02-29")

    assert (dates.validation.min, dates.validation.max, dates.default) == ("2024-01-31", "2024-12-31", "2024-02-29")


def test_a_limit_that_is_no_day_is_a_mistake_of_its_variable(path: Path) -> None:
    with pytest.raises(CodebookError) as raised:
        variable(path, type="date", validation="{min: 2024-02-30}")
    assert raised.value.problems == ["line 3: variable 'v' has a limit that is not an ISO date such as 2024-01-31"]


WRITTEN = ["yes", "no", "On", "off", "True", "false", "012", "0x1F", "1:30", "1_000", "1.50", "1e3", "2024-01-31", "5"]


@pytest.mark.parametrize("written", WRITTEN)
def test_categories_allowed_values_and_examples_stay_as_written(path: Path, written: str) -> None:
    coded = variable(path, type="category", categories=f"[{{value: {written}}}, {{value: x, label: {written}}}]")
    text = variable(path, type="text", validation=f"{{allowed: [{written}]}}", examples=f"[{written}]")

    assert coded.categories[0].value == coded.categories[1].label == written
    assert (text.validation.allowed, text.examples) == ((written,), (written,))


def test_a_category_that_is_left_empty_is_a_mistake(path: Path) -> None:
    for written in ("~", "null", ""):
        with pytest.raises(CodebookError) as raised:
            variable(path, type="category", categories=f"[{{value: {written}}}]")
        assert raised.value.problems == ["line 6: variable 'v': `categories.0.value` must be text; put it in quotes"]


def test_numbers_and_booleans_are_so_where_they_are_wanted(path: Path) -> None:
    number = variable(path, type="number", validation="{min: 0, max: 1.5}", default="1", max_values="3")
    boolean = variable(path, type="boolean", default="no")

    assert (number.validation.min, number.validation.max, number.default, number.max_values) == (0, 1.5, 1, 3)
    assert boolean.default is False


def test_names_that_yaml_takes_for_values_are_asked_for_in_quotes(path: Path) -> None:
    assert problems(path, "project: 2024\nvariables: [{name: no, type: text, instructions: 12:30}]\n") == [
        "line 1: `project` must be text; put it in quotes",
        "line 2: variable number 1: `name` must be text; put it in quotes",
        "line 2: variable number 1: `instructions` must be text; put it in quotes",
    ]


# Mistakes, and their lines


def test_every_mistake_has_its_line(path: Path) -> None:
    assert problems(
        path,
        """\
        project: awards

        # a comment
        varables:
          - {name: amount}
        variables:
          - name: amount
            type: money
            instructions: Total amount of the grant.
          - name: field
            type: category
            instructions: >-
              The field of research,
              in one word.
            categories:
              - value: law
              - valeu: art
          - {name: Amount, type: number, instructions: Again.,
             depends_on: [{variable: country}]}
        """,
    ) == [
        "line 4: `varables` is not a known key; remove it or correct its spelling",
        "line 8: variable 'amount': `type` is 'money', which is not a type; use 'text', 'number', 'date', 'category' "
        "or 'boolean'",
        "line 17: variable 'field': `categories.1.value` is missing; add it",
        "line 17: variable 'field': `categories.1.valeu` is not a known key; remove it or correct its spelling",
        "line 18: variable 'Amount' stands twice (the same as 'amount' but for case or character forms); rename one",
        "line 19: variable 'Amount' depends on 'country', which is not defined; add it",
    ]


def test_keys_that_stand_twice_are_found_at_every_depth(path: Path) -> None:
    text = """\
        project: p
        project: q
        variables:
          - name: v
            type: text
            instructions: i
            type: number
            validation: {min: 1, max: 2, min: 3}
        """

    assert problems(path, text) == [
        "line 2: `project` stands twice in the same place; remove one",
        "line 7: `type` stands twice in the same place; remove one",
        "line 8: `min` stands twice in the same place; remove one",
    ]


NOT_YAML = {
    "an open bracket": ("project: p\nvariables:\n  - name: [a\n", "line 4: ", "expected ',' or ']'"),
    "a tab": ("project: p\n\tvariables: []\n", "line 2: ", "found character '\\t'"),
    "a colon in a text": ("project: p\ndescription: Total: amount\n", "line 2: ", "mapping values are not allowed"),
    "an open quote": ('project: "p\nvariables: []\n', "line 3: ", "unexpected end of stream"),
    "wrong indentation": ("project: p\n  domain: d\n", "line 2: ", "mapping values are not allowed"),
    "an unknown alias": ("project: p\ndomain: *d\n", "line 2: ", "undefined alias"),
    "two documents": ("project: p\n---\nproject: q\n", "line 2: ", "another document"),
    "a NUL": ("project: p\ndomain: a\0b\n", "line 2: ", "#x0000"),
    "a control character": ("project: p\n\ndomain: a\x07b\n", "line 3: ", "#x0007"),
    "an unknown tag": ("project: !secret p\n", "line 1: ", "'!secret'"),
    "a value that its tag denies": ("project: p\ndomain: !!int abc\n", "line 2: ", "'abc' cannot be read as int"),
    "an empty number": ("project: !!int ''\n", "line 1: ", "'' cannot be read as int"),
    "no boolean": ("project: !!bool perhaps\n", "line 1: ", "'perhaps' cannot be read as bool"),
    "a number without end": (f"project: p\ndomain: {'9' * 5000}\n", "line 2: ", f"'{'9' * 40}' cannot be read as int"),
}


@pytest.mark.parametrize(("text", "line", "why"), NOT_YAML.values(), ids=NOT_YAML)
def test_what_is_no_yaml_is_said_with_its_line(path: Path, text: str, line: str, why: str) -> None:
    (problem,) = problems(path, text.encode())

    assert problem.startswith(f"{line}it is not valid YAML: ")
    assert why in problem
    assert len(problem) < 200


def test_a_key_that_is_no_word_is_a_mistake(path: Path) -> None:
    assert problems(path, "project: p\n? [a, b]\n: c\n? {d: e}\n: f\n") == [
        "line 2: a key must be a single word; remove what stands here",
        "line 4: a key must be a single word; remove what stands here",
    ]


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "\ufeff"], ids=["empty", "blank", "comment", "BOM"])
def test_an_empty_file_is_said_to_be_empty(path: Path, text: str) -> None:
    assert problems(path, text.encode()) == ["it is empty"]


@pytest.mark.parametrize("text", ["hello", "- a\n- b\n", "5", "---\n", "null"])
def test_what_is_no_mapping_is_said_so(path: Path, text: str) -> None:
    assert problems(path, text) == ["it must be a mapping with `project` and `variables`"]


# Hostile files


def test_no_tag_makes_anything_but_data(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tmp_path / "made"
    (tmp_path / "hostile_module.py").write_text(f"open({str(made)!r}, 'w').close()")
    monkeypatch.syspath_prepend(tmp_path)

    for tag in ("module:hostile_module", "name:hostile_module.x", "object:hostile_module.x", "object/apply:os.mkdir"):
        problems(path, f"project: !!python/{tag} ''\n")
        problems(path, f"project: !!python/{tag} [{made}]\n")
        problems(path, f"project: p\nvariables: !!python/{tag} {{args: [{made}]}}\n")
    assert not made.exists()


def test_a_few_aliases_do_not_unfold_into_a_flood(path: Path) -> None:
    letters = "abcdefghij"
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{here}: &{here} [{', '.join([f'*{before}'] * 10)}]" for before, here in pairwise(letters)]

    assert problems(path, "\n".join(lines)) == ["it is not valid YAML: it unfolds into too many parts"]


@pytest.mark.parametrize(
    "text",
    ["project: &a [*a]\n", "project: p\nvariables: &v\n  - *v\n", "project: " + "[" * 3000, "a: " + "{b: " * 3000],
    ids=["an alias of itself", "a list in itself", "lists", "mappings"],
)
def test_what_is_nested_without_end_is_refused(path: Path, text: str) -> None:
    assert problems(path, text) == ["it is not valid YAML: it is nested too deeply"]


# Files that cannot be read


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le"])
def test_a_file_that_is_not_utf_8_says_how_to_save_it(path: Path, encoding: str) -> None:
    with pytest.raises(DefinitionError, match="UTF-8") as raised:
        read(path, "project: Gebühr".encode(encoding))
    assert repr(str(path)) in str(raised.value)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        pytest.param("nowhere.yaml", "No such file", id="missing"),
        pytest.param("", "directory", id="a folder"),
        pytest.param("x" * 300, "too long", id="too long a name"),
        pytest.param("a\0b", "null byte", id="a NUL"),
    ],
)
def test_a_file_that_cannot_be_opened_is_named_with_the_reason(tmp_path: Path, name: str, why: str) -> None:
    path = f"{tmp_path}/{name}"

    with pytest.raises(DefinitionError, match="cannot be opened") as raised:
        read_codebook(path)
    assert repr(path).removesuffix("/'") in str(raised.value)
    assert why in str(raised.value)
