import pytest
import yaml

from tasks.read_prices import SHIPPED, prices, read_prices
from winnow.exceptions import DefinitionError
from winnow.prices import FREE, Price
from winnow.settings import settings


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("WINNOW_HOME", str(tmp_path))
    monkeypatch.delenv("WINNOW_PRICES", raising=False)
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


def written(folder, text):
    path = folder / "prices.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_table_has_all_that_it_needs(home):
    found = prices()
    assert found.price("openai:gpt-4.1-mini") == Price(input=0.40, cached_input=0.10, output=1.60)
    assert found.price("openai:gpt-4.1-mini-2025-04-14") == found.price("openai:gpt-4.1-mini")
    assert found.price("anthropic:claude-haiku-4-5-20251001") == Price(input=1.0, cached_input=0.10, output=5.0)
    assert found.price("mistralai:mistral-large-2512") == Price(input=0.50, cached_input=0.50, output=1.50)
    assert found.price("baseline") == found.price("gguf:x") == FREE
    assert found.price("openai:gpt-5-pro") is None


def test_no_shipped_price_is_out_of_proportion():
    table = read_prices(SHIPPED)
    assert len(table) == len(yaml.safe_load(SHIPPED.read_text())) > 25
    for one in table.values():
        assert 0 < one.cached_input <= one.input < one.output <= 100


def test_the_users_prices_go_before_the_shipped_ones(home):
    written(home, "openai:*: {input: 1, output: 2}\nown:model: {input: 0.5, cached_input: 0.1, output: 1}\n")
    found = prices()
    assert found.price("openai:gpt-4.1-mini") == Price(input=1.0, cached_input=1.0, output=2.0)
    assert found.price("own:model") == Price(input=0.5, cached_input=0.1, output=1.0)
    assert found.price("anthropic:claude-haiku-4-5") == Price(input=1.0, cached_input=0.10, output=5.0)


def test_the_setting_goes_before_the_file_in_the_home(home, tmp_path_factory, monkeypatch):
    written(home, "own:model: {input: 1, output: 1}")
    other = written(tmp_path_factory.mktemp("other"), "own:model: {input: 7, output: 7}")
    monkeypatch.setenv("WINNOW_PRICES", str(other))
    assert prices().price("own:model") == Price(input=7.0, cached_input=7.0, output=7.0)


def test_a_file_that_the_setting_names_must_be_there(home, monkeypatch):
    monkeypatch.setenv("WINNOW_PRICES", str(home / "nowhere.yaml"))
    with pytest.raises(DefinitionError, match=r"nowhere\.yaml' cannot be opened: No such file or directory"):
        prices()


def test_an_empty_file_changes_nothing(home):
    written(home, "# nothing yet\n")
    assert prices().price("openai:gpt-4.1") == Price(input=2.0, cached_input=0.5, output=8.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "must be a mapping, a line per model: MODEL: {input: 0.40, cached_input: 0.10, output: 1.60}"),
        ("a: {input: 1\n", "are not valid YAML: line 2: "),
        ("a: 5\n", "`a` must have its prices in USD for a million tokens, as {input: 0.40,"),
        ("a: {input: 1}\n", "`a` has no `output`; add it, as in {input: 0.40,"),
        ("a: {output: 1}\n", "`a` has no `input`; add it"),
        ("a: {input: cheap, output: 1}\n", "`a` has 'cheap' as `input`; write a number of USD, 0 or more"),
        ("a: {input: -1, output: 1}\n", "`a` has -1 as `input`; write a number of USD, 0 or more"),
        ("a: {input: .nan, output: 1}\n", "`a` has nan as `input`; write a number of USD, 0 or more"),
        ("a: {input: .inf, output: 1}\n", "`a` has inf as `input`; write a number of USD, 0 or more"),
        ("a: {input: true, output: 1}\n", "`a` has True as `input`; write a number of USD, 0 or more"),
        ("a: {inputs: 1, output: 1}\n", "`a` has `inputs`, which is not known; its keys are input, cached_input and"),
        ("o*a: {input: 1, output: 1}\n", "`o*a` is no name of a model; write provider:model, and * at most at its end"),
        ("5: {input: 1, output: 1}\n", "`5` is no name of a model"),
        ('" ": {input: 1, output: 1}\n', "` ` is no name of a model"),
        ("[a]: {input: 1, output: 1}\n", "are not valid YAML: line 1: "),
        ("a: !!python/object:os.system x\n", "are not valid YAML: line 1: "),
        ("a: &a {input: 1, output: 1, b: *a}\n", "`a` has `b`, which is not known"),
        ("[" * 5_000, "are not valid YAML: "),
    ],
)
def test_bad_content_is_named_with_its_file(home, text, message):
    path = written(home, text)
    with pytest.raises(DefinitionError) as raised:
        prices()
    assert message in str(raised.value)
    assert repr(str(path)) in str(raised.value)


def test_a_file_that_is_no_text(home):
    (home / "prices.yaml").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(DefinitionError, match="are not a UTF-8 text file; save them as one"):
        prices()
