"""The two sides of the comparison, each run in a process of its own: `python -m benchmarks.sides winnow|langchain ...`.

Both print one JSON line with the processor seconds and the peak memory of the part that asks.
"""

import json
import resource
import sys
import threading
import time
from itertools import pairwise
from typing import Any

import psutil  # type: ignore[import-untyped]

from benchmarks import corpus

MODEL = "openai:bench"


QUARTERS = """
    SELECT extract(epoch FROM max(answered_at))::float8
    FROM (SELECT answered_at, ntile(4) OVER (ORDER BY answered_at) AS quarter FROM call) AS answered
    GROUP BY quarter ORDER BY quarter
"""
"""When each quarter of the calls had been answered."""


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _measured(work: Any) -> dict[str, Any]:
    cpu, clock = _cpu(), time.monotonic()
    work()
    return {
        "cpu_seconds": _cpu() - cpu,
        "seconds": time.monotonic() - clock,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


class _Course:
    """Processor time and memory of this process in the course of a job."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, float, float]] = []  # time, processor seconds, bytes
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        memory = psutil.Process().memory_info
        while True:
            self._seen.append((time.time(), _cpu(), memory().rss))
            time.sleep(0.2)

    def by_quarters(self, calls: int) -> dict[str, list[float]]:
        """Milliseconds per call in each quarter of the calls, and the megabytes at its end."""
        from db.session import transaction

        with transaction() as connection:
            ends = connection.exec_driver_sql(QUARTERS).scalars().all()
        began, *at = [min(self._seen, key=lambda seen: abs(seen[0] - end)) for end in (0.0, *ends)]
        cpu = [later[1] - earlier[1] for earlier, later in pairwise([began, *at])]
        return {"cpu_ms": [4000 * used / calls for used in cpu], "rss_mb": [seen[2] / 2**20 for seen in at]}


def winnow(documents: int, variables: int, slots: int) -> dict[str, Any]:
    """Winnow's own job: plan, ask, ground, store, with Prefect showing it."""
    name = prepared(range(documents), variables)
    from flows.prefect_environment import use_prefect

    use_prefect()
    from flows.extract_variables import extract_variables

    course = _Course()
    used = _measured(lambda: extract_variables(name, model=MODEL, concurrency=slots))
    return used | course.by_quarters(documents * variables)


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


def langchain(documents: int, variables: int, slots: int) -> dict[str, Any]:
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
