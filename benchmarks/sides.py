"""The two sides of the comparison, each run in a process of its own: `python -m benchmarks.sides winnow|langchain ...`.

Both print one JSON line with the processor seconds and the peak memory of the part that asks.
"""

import json
import resource
import sys
import time
from typing import Any

from benchmarks import corpus

MODEL = "openai:bench"


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _measured(work: Any) -> dict[str, float]:
    cpu, clock = _cpu(), time.monotonic()
    work()
    return {
        "cpu_seconds": _cpu() - cpu,
        "seconds": time.monotonic() - clock,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def winnow(documents: int, variables: int, slots: int) -> dict[str, float]:
    """Winnow's own job: plan, ask, ground, store, with Prefect showing it."""
    name = prepared(range(documents), variables)
    from flows.prefect_environment import use_prefect

    use_prefect()
    from flows.extract_variables import extract_variables

    return _measured(lambda: extract_variables(name, model=MODEL, concurrency=slots))


def prepared(numbers: range, variables: int) -> str:
    """The name of a new project with the documents of these numbers."""
    from db import documents as stored
    from db import projects
    from db.session import transaction
    from db.upgrade import ready
    from tasks.parsers import parse_document
    from winnow.parse_codebook import parse_codebook

    ready()
    name = f"bench {numbers.start} {variables} {time.time_ns()}"
    with transaction() as connection:
        projects.apply_codebook(connection, parse_codebook(corpus.codebook(name, variables)))
        project = projects.get(connection, name)
    for number in numbers:
        data = corpus.document(number).encode()
        parsed = parse_document(data, f"{number}.txt")
        with transaction() as connection:
            stored.save_parsed(
                connection,
                project.id,
                sha256=f"{name} {number}",
                name=f"contract {number}.txt",
                size_bytes=len(data),
                parsed=parsed,
            )
    return name


def langchain(documents: int, variables: int, slots: int) -> dict[str, float]:
    """LangChain's `batch` over the same prompts: nothing is checked or kept."""
    from langchain.chat_models import init_chat_model
    from langchain_core.messages import HumanMessage, SystemMessage

    from winnow.answers import ENVELOPE_SCHEMA
    from winnow.parse_codebook import parse_codebook
    from winnow.prompts import Question, build_prompt, corpus_rules, variable_prompt

    codebook = parse_codebook(corpus.codebook("bench", variables))
    prompts = [
        build_prompt(corpus_rules(codebook), text, Question(variables=(variable_prompt(variable),)))
        for text in map(corpus.document, range(documents))
        for variable in codebook.variables
    ]
    chat = init_chat_model(MODEL, max_retries=0, timeout=120, temperature=0.2)
    chain = chat.with_structured_output(ENVELOPE_SCHEMA, method="json_schema", strict=True, include_raw=True)
    messages = [[SystemMessage(prompt.system), HumanMessage(prompt.user)] for prompt in prompts]
    return _measured(lambda: chain.batch(messages, config={"max_concurrency": slots}))  # type: ignore[arg-type]


if __name__ == "__main__":
    side, *numbers = sys.argv[1:]
    print(json.dumps({"winnow": winnow, "langchain": langchain}[side](*map(int, numbers))))
