"""Requests for the tests of the test model service (see openai_server.py)."""

from __future__ import annotations

import json
from typing import Any

import httpx

from tests.openai_server import OpenAIServer

DOCUMENT = """Supply agreement between Acme and Bolt. Signed in Tulsa.
It was made on 2024-02-31, that is 2024-03-02.
The price is 1,250.50 dollars."""
VARIABLES: list[dict[str, Any]] = [
    {"variable": "title", "type": "text"},
    {"variable": "year", "type": "number"},
    {"variable": "signed_on", "type": "date"},
    {"variable": "is_signed", "type": "boolean"},
    {"variable": "kind", "type": "category", "categories": [{"value": "supply"}, {"value": "lease"}]},
]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "answers", "schema": {"type": "object"}}}


def body_of(document: str = DOCUMENT, variables: list[dict[str, Any]] = VARIABLES, **more: Any) -> dict[str, Any]:
    id = "5f0c2a91d3b4e6f7"
    blocks = {"variables": variables} | {
        name: more.pop(name) for name in ("entity", "known", "correction") if name in more
    }
    asked = [f"<{name} {id}>\n{json.dumps(block)}\n</{name} {id}>\n\n" for name, block in blocks.items()]
    user = f"<document {id}>\n{document}\n</document {id}>\n\n{''.join(asked)}Answer every variable."
    messages = [{"role": "system", "content": "You read documents."}, {"role": "user", "content": user}]
    return {"model": "test-model", "messages": messages, "response_format": SCHEMA, **more}


class Post:
    """Sends chat completions to the server."""

    def __init__(self, server: OpenAIServer, http: httpx.Client) -> None:
        self.server, self._http = server, http

    def __call__(self, body: Any = None, **options: Any) -> httpx.Response:
        return self._http.post(
            f"{self.server.url}/chat/completions", json=body_of() if body is None else body, **options
        )

    def choice(self, body: Any = None) -> dict[str, Any]:
        response = self(body)
        assert response.status_code == 200
        choice: dict[str, Any] = response.json()["choices"][0]
        return choice

    def answers(self, body: Any = None) -> dict[str, Any]:
        answers = json.loads(self.choice(body)["message"]["content"])["answers"]
        return {answer["variable"]: answer for answer in answers}

    def cached(self, body: Any) -> int:
        cached: int = self(body).json()["usage"]["prompt_tokens_details"]["cached_tokens"]
        return cached


def values_of(answers: dict[str, Any]) -> dict[str, Any]:
    return {name: [value["value"] for value in answer["values"]] for name, answer in answers.items()}
