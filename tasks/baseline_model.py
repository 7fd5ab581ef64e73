"""The embedded model as a LangChain chat model: it reads Winnow's own prompt and replies as a provider would."""

import json
import re
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.output_parsers import JsonOutputParser
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable, RunnableParallel, RunnableSequence

from winnow import baseline
from winnow.answers import Envelope

_OPENING = re.compile(r"\s*<document (\S+)>\n")


class BaselineChatModel(BaseChatModel):
    """Answers by the rules of `winnow.baseline`: here, at once, free of charge, and always the same."""

    version: str = baseline.VERSION

    @property
    def _llm_type(self) -> str:
        return "baseline"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": "baseline", "version": self.version}

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,  # noqa: ARG002 # LangChain's signature
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> ChatResult:
        envelope = _answered(messages)
        message = AIMessage(
            content=json.dumps(envelope.model_dump(), ensure_ascii=False),
            response_metadata={"model_name": "baseline", "finish_reason": "stop"},
            usage_metadata=UsageMetadata(input_tokens=0, output_tokens=0, total_tokens=0),
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        method: str | None = None,  # noqa: ARG002 # there is one way only
        strict: bool | None = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """The model and a JSON parser behind it. The reply has the form of Winnow's envelope, whatever the schema."""
        bound = self.bind(ls_structured_output_format={"kwargs": kwargs, "schema": schema})
        if include_raw:
            return RunnableParallel(raw=bound) | _parsed_beside_raw
        return RunnableSequence(bound, JsonOutputParser())


def _parsed_beside_raw(replied: dict[str, Any]) -> dict[str, Any]:
    return {**replied, "parsed": json.loads(replied["raw"].text), "parsing_error": None}


def _answered(messages: list[BaseMessage]) -> Envelope:
    asked = next((message for message in reversed(messages) if isinstance(message, HumanMessage)), None)
    parts = _parts(str(asked.text)) if asked else None
    return baseline.answer_question(*parts) if parts else Envelope(answers=())


def _parts(prompt: str) -> tuple[str, list[dict[str, Any]], dict[str, Any] | None] | None:
    """The text, the variables and the entity of a prompt of `winnow.prompts.build_prompt`; None for any other text.

    Only tags with the opening one's mark count, so that a tag inside the document closes nothing. What is known and
    what is to be corrected stands behind, and is not read: rules would give the same answer again.
    """
    opening = _OPENING.match(prompt)
    if not opening:
        return None
    mark = opening.group(1)
    document_end, variables_start = f"\n</document {mark}>", f"\n\n<variables {mark}>\n"
    end = prompt.rfind(document_end + variables_start)
    start = end + len(document_end + variables_start)
    stop = prompt.find(f"\n</variables {mark}>", start)
    if end < opening.end() - 1 or stop < 0:
        return None
    try:
        variables = json.loads(prompt[start:stop])
        entity = _entity(prompt[stop:], mark)
    except ValueError:
        return None
    named = [variable for variable in variables if isinstance(variable, dict)] if isinstance(variables, list) else []
    return prompt[opening.end() : max(opening.end(), end)], named, entity


def _entity(behind: str, mark: str) -> dict[str, Any] | None:
    """The entity in what follows the variables."""
    start, end = f"\n</variables {mark}>\n\n<entity {mark}>\n", f"\n</entity {mark}>"
    if not behind.startswith(start):
        return None
    found = json.loads(behind[len(start) : max(len(start), behind.find(end))])
    return found if isinstance(found, dict) else None
