"""`python -m benchmarks.prompt_cache FOLDER`: the prompt tokens that an answered cell costs, by the order of asking.

The folder holds `codebook.yaml` and `pdf/`. The model server counts as a provider does: a prompt's beginning is read
from its cache from 1,024 tokens on, in steps of 128, once a reply to a prompt with the same beginning has been sent.
LangChain's `batch` asks all cells at once, with the question before the document and with the document first; Winnow
asks as it does, with one variable, four and all variables per call. What the model answers comes from the text by
simple rules: it is not what is measured.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from langchain.chat_models import init_chat_model
from langchain_core.messages import HumanMessage, SystemMessage

from benchmarks.command import MODEL, head, line, own_winnow
from tasks.parsers import parse_document
from tasks.read_prices import prices
from tests.openai_server import OpenAIServer, Stats
from winnow.answers import ENVELOPE_SCHEMA
from winnow.codebook import Codebook
from winnow.parse_codebook import parse_codebook
from winnow.prompts import Prompt, Question, build_prompt, corpus_rules, variable_prompt
from winnow.tokens import count_tokens

PRICED = "openai:gpt-4.1-mini"
"""The model whose prices for cached and other prompt tokens are taken."""

HEAD = (
    "asked", "calls", "prompt tokens", "cached", "not cached per cell", "billed per cell", "completion tokens",
    "seconds",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Bill:
    """What one way of asking took, as the server counted it."""

    asked: str
    cells: int
    calls: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    seconds: float

    @classmethod
    def of(cls, asked: str, cells: int, stats: Stats) -> "Bill":
        """The server's figures; seconds from the first request to the last reply."""
        assert stats.first_request_at is not None
        assert stats.last_reply_at is not None
        return cls(
            asked=asked,
            cells=cells,
            calls=stats.requests,
            prompt_tokens=stats.prompt_tokens,
            cached_tokens=stats.cached_tokens,
            completion_tokens=stats.completion_tokens,
            seconds=stats.last_reply_at - stats.first_request_at,
        )

    @property
    def cached(self) -> float:
        """The share of the prompt tokens that came from the cache."""
        return self.cached_tokens / self.prompt_tokens

    @property
    def uncached_per_cell(self) -> float:
        """Prompt tokens per answered cell that did not come from the cache."""
        return (self.prompt_tokens - self.cached_tokens) / self.cells

    def billed_per_cell(self, ratio: float) -> float:
        """The same, and those from the cache at this part of the full price."""
        return self.uncached_per_cell + ratio * self.cached_tokens / self.cells


def main() -> None:
    """Ask all cells of the folder in every way, one after the other."""
    arguments = _arguments()
    plain = yaml.safe_load((arguments.folder / "codebook.yaml").read_text())
    if arguments.whole_up_to:
        plain["chunking"] = {**plain.get("chunking", {}), "whole_up_to": arguments.whole_up_to}
    codebook, files = parse_codebook(plain), sorted((arguments.folder / "pdf").resolve().iterdir())
    texts = [parse_document(file.read_bytes(), file.name).text for file in files]
    bills = []
    with tempfile.TemporaryDirectory() as scratch:
        written = Path(scratch) / "codebook.yaml"
        written.write_text(yaml.safe_dump(plain, sort_keys=False))
        for asked, work in {
            "question first, all at once": lambda url: batch(url, codebook, texts, arguments.slots, question_first),
            "document first, all at once": lambda url: batch(url, codebook, texts, arguments.slots, document_first),
            **{
                f"Winnow, {number or 'all'} per call": _run(written, files, number, arguments.slots)
                for number in (1, 4, 0)
            },
        }.items():
            with OpenAIServer(latency=arguments.latency, truth={"*": _plain_answers(codebook)}) as server:
                cells = work(server.url)
                bills.append(Bill.of(asked, cells, server.stats()))
    _tell(arguments, codebook, texts, bills)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with codebook.yaml and pdf/")
    parser.add_argument("--latency", type=float, default=0.3, help="seconds before a reply")
    parser.add_argument("--slots", type=int, default=32, help="calls in flight")
    parser.add_argument("--whole-up-to", type=int, help="tokens up to which a document is read whole, for Winnow")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _plain_answers(codebook: Codebook) -> dict[str, Any]:
    """Not stated, where an answer out of the text would break a rule and be asked again."""
    ruled = (variable.name for variable in codebook.variables if variable.validation.model_dump(exclude_none=True))
    return {name: {"values": []} for name in ruled}


def document_first(prompt: Prompt) -> str:
    """The user message as Winnow has it."""
    return prompt.user


def question_first(prompt: Prompt) -> str:
    """The same with its two halves changed over."""
    return f"{prompt.question}\n\n{prompt.document}"


def batch(url: str, codebook: Codebook, texts: list[str], slots: int, message: Callable[[Prompt], str]) -> int:
    """LangChain's `batch` over all cells, one call each. Returns how many were answered."""
    rules = corpus_rules(codebook)
    prompts = [
        build_prompt(rules, text, Question(variables=(variable_prompt(variable),)))
        for text in texts
        for variable in codebook.variables
    ]
    chat = init_chat_model(MODEL, base_url=url, api_key="sk-benchmark", max_retries=0, timeout=120)
    chain = chat.with_structured_output(ENVELOPE_SCHEMA, method="json_schema", strict=True)
    messages: list[Any] = [[SystemMessage(prompt.system), HumanMessage(message(prompt))] for prompt in prompts]
    replies: list[Any] = chain.batch(messages, config={"max_concurrency": slots})
    return sum(len(reply["answers"]) for reply in replies)


def _run(codebook: Path, files: list[Path], variables_per_call: int, slots: int) -> Callable[[str], int]:
    """Winnow's own job; gives how many cells were answered, which must be all."""

    def work(url: str) -> int:
        with own_winnow(url) as winnow:
            project = winnow("apply", codebook)["project"]
            winnow("ingest", project, *files)
            cells = winnow("run", project, "--variables-per-call", variables_per_call, "--concurrency", slots)["cells"]
        answered = int(cells["extracted"] + cells["flagged"])
        if answered != cells["total"]:
            raise RuntimeError(f"not all cells were answered: {cells}")
        return answered

    return work


def _tell(arguments: argparse.Namespace, codebook: Codebook, texts: list[str], bills: list[Bill]) -> None:
    price = prices().price(PRICED)
    assert price is not None
    ratio = price.cached_input / price.input
    tokens = [count_tokens(text) for text in texts]
    longer = [number for number in tokens if number > codebook.chunking.whole_up_to]
    if arguments.json:
        shown = [
            {**asdict(bill), "cached": bill.cached, "uncached_per_cell": bill.uncached_per_cell,
             "billed_per_cell": bill.billed_per_cell(ratio)} for bill in bills
        ]  # fmt: skip
        about = {"tokens": tokens, "read_in_parts": len(longer), "priced_as": PRICED, "cached_price": ratio}
        print(json.dumps({**about, "bills": shown}, indent=2))
        return
    print(
        f"{len(texts)} documents of {min(tokens):,} to {max(tokens):,} tokens, {len(longer)} of them read in parts by "
        f"Winnow; {len(codebook.variables)} variables; {arguments.slots} calls in flight, {arguments.latency:g} s each."
        f" Billed: cached tokens at {ratio:.0%} of the price, as {PRICED} has it.\n"
    )
    print(head(HEAD))
    for bill in bills:
        print(line(_row(bill, ratio)))


def _row(bill: Bill, ratio: float) -> tuple[str, ...]:
    return (
        bill.asked,
        f"{bill.calls:,}",
        f"{bill.prompt_tokens:,}",
        f"{bill.cached:.1%}",
        f"{bill.uncached_per_cell:,.0f}",
        f"{bill.billed_per_cell(ratio):,.0f}",
        f"{bill.completion_tokens:,}",
        f"{bill.seconds:.1f}",
    )


if __name__ == "__main__":
    main()
