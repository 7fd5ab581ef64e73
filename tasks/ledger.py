"""The ledger as an `Asker`: gives the stored reply to a request, or buys one, once for everybody who asks the same."""

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from db import calls, workers
from db.calls import Order
from db.session import at_once, patiently, transaction
from tasks import models, observe
from tasks.job_context import JobContext
from winnow.answers import ENVELOPE_SCHEMA
from winnow.asking import Request
from winnow.calls import Intent, Reply, Usage
from winnow.estimates import CallPlan, call_estimate, expected_tokens
from winnow.exceptions import BudgetReachedError, RateLimitedError, StayingError, WorkerLostError
from winnow.prices import cost, is_estimated
from winnow.prompts import Prompt, build_prompt, request_key
from winnow.tokens import count_tokens

logger = logging.getLogger(__name__)

_LOOK_EVERY = 0.5  # seconds between looks whether another worker's call has been answered
_PATIENCE = 900.0  # seconds for which a request is made again whenever its provider has said when to come back

LIST_ANSWERS = 20
"""A list of entities is as long an answer as so many variables."""

SCHEMA_TOKENS = count_tokens(json.dumps(ENVELOPE_SCHEMA))
"""The form of the reply, which providers count as a part of the prompt where they take it."""


@dataclass(frozen=True)
class _Bought:
    call_id: int
    request_key: str
    reply: Reply
    cost: float | None
    estimated: bool


class Ledger:
    """The calls of some cells of one document. Threads may share it."""

    def __init__(
        self, context: JobContext, worker: int, document_id: int, text: str, prompt_ids: Mapping[str, int]
    ) -> None:
        """`worker`: who holds the document. `prompt_ids`: of each variable that may be asked, by its name."""
        self._context, self._document_id, self._text = context, document_id, text
        self._prompt_ids = prompt_ids
        self._worker = worker
        self._heard: dict[str, tuple[int, Reply]] = {}
        self._bought: list[_Bought] = []
        self._lock = threading.Lock()

    @property
    def call_ids(self) -> list[int]:
        """The calls that were asked or looked up so far."""
        return [call_id for call_id, _ in self._heard.values()]

    def ask(self, request: Request) -> Reply:
        """As `winnow.asking.Asker`. What was bought before is stored first: only the last reply waits for its cells."""
        prompt = build_prompt(self._context.rules, self._text[slice(*request.span)], request.question)
        order = self._order(request, prompt)
        if order.request_key in self._heard:
            return self._heard[order.request_key][1]
        self._store_bought()
        self._heard[order.request_key] = self._answered(order, prompt, request)
        return self._heard[order.request_key][1]

    def reject(self, request: Request, reason: str) -> None:
        """As `winnow.asking.Asker`."""
        prompt = build_prompt(self._context.rules, self._text[slice(*request.span)], request.question)
        heard = self._heard.get(self._order(request, prompt).request_key)
        if heard:
            self.store(lambda connection: calls.reject(connection, heard[0], reason))

    def store(self, write: Callable[[Connection], Any] | None = None) -> None:
        """Store what was bought, and what `write` adds, in one transaction.

        It was paid for: while the database is down, it is tried again and again.

        Raises:
            WorkerLostError: another worker has taken over. Then the replies are stored, and `write` is left out.
            DatabaseDownError: it is down, and the run has been asked to end for some time.
        """
        with self._lock:
            waiting = list(self._bought)

        def stored() -> bool:
            with transaction() as connection:
                for one in waiting:
                    calls.keep_reply(connection, one.call_id, one.reply, cost=one.cost, estimated=one.estimated)
                mine = write is None or workers.exists(connection, self._worker)
                if write and mine:
                    write(connection)
            return mine

        try:
            mine = patiently(stored, self._context.gate.linger)
        except DBAPIError:  # what `write` adds cannot be stored; what was paid for can
            write = None
            patiently(stored, self._context.gate.linger)
            self._forget(waiting)
            raise
        self._forget(waiting)
        if not mine:
            raise WorkerLostError("another worker has taken over")

    def _forget(self, stored: Sequence[_Bought]) -> None:
        with self._lock:
            self._bought = [one for one in self._bought if one not in stored]
        for one in stored:
            self._context.asking.give_back(one.request_key)

    def _answered(self, order: Order, prompt: Prompt, request: Request) -> tuple[int, Reply]:
        """The call that has the reply, and the reply. To wait as long as the provider asks for is no failed try."""
        patient_until = time.monotonic() + _PATIENCE
        while True:
            try:
                with self._context.gate.slot():
                    found = self._found_or_bought(order, prompt, request)
                if found:
                    return found
            except RateLimitedError as error:
                if error.retry_after is None or time.monotonic() + error.retry_after > patient_until:
                    raise
            else:
                self._store_bought()  # whoever asks it may be waiting for a reply that this ledger holds back
                time.sleep(_LOOK_EVERY)

    def _found_or_bought(self, order: Order, prompt: Prompt, request: Request) -> tuple[int, Reply] | None:
        """None where somebody else is asking just this."""
        asking = self._context.asking
        if not asking.take(order.request_key):
            return None
        bought = None
        try:
            with at_once() as connection:
                intent = calls.intend(connection, order, self._worker, self._context.limiter.key)
            if intent.reply:
                observe.reused(order.model)
                return intent.call_id, intent.reply
            bought = None if intent.elsewhere else self._buy(intent, order, prompt, request)
            return (intent.call_id, bought) if bought else None
        finally:
            if bought is None:  # else it is given back when the reply is stored
                asking.give_back(order.request_key)

    def _store_bought(self) -> None:
        if self._bought:
            self.store()

    def _order(self, request: Request, prompt: Prompt) -> Order:
        model = self._context.model
        shaping = [models.parameters(model, one.variable.type) for one in request.asked]
        parameters = min(shaping, key=lambda given: given.get("temperature", 0))  # the most careful of the group's
        key = request_key(model=model, parameters=parameters, schema=ENVELOPE_SCHEMA, prompt=prompt)
        known = (self._prompt_ids.get(one.variable.name) for one in request.asked)
        return Order(
            request_key=key, job_id=self._context.job_id, document_id=self._document_id,
            prompt_ids=tuple(dict.fromkeys(prompt_id for prompt_id in known if prompt_id is not None)),
            model=model, parameters=parameters,
        )  # fmt: skip

    def _buy(self, intent: Intent, order: Order, prompt: Prompt, request: Request) -> Reply:
        price, budget, limiter = self._context.price, self._context.budget, self._context.limiter
        tokens = expected_tokens(self._plan(prompt, request)) if limiter.counts_tokens else 0
        most = call_estimate(self._plan(prompt, request), price) if price and budget.limited else 0.0
        try:
            with (
                budget.reserved(most),
                limiter.admitted(intent.provider, tokens, lambda: self._begin(intent)),
                observe.call(order.model) as answered,
            ):
                reply = models.ask(order.model, order.parameters, prompt, cache_key=prompt.cache_key)
                spent = cost(price, reply.usage, self._usage(prompt, reply)) if price else None
                budget.spend(spent or 0.0)
                answered(reply, spent)
        except Exception as error:  # raised again: whatever it was, the ledger says that no reply came
            self._warn(error)
            name = getattr(error, "reason", "internal_error")
            self.store(lambda connection: calls.keep_failure(connection, intent.call_id, name))
            raise
        with self._lock:
            self._bought.append(_Bought(intent.call_id, order.request_key, reply, spent, is_estimated(reply.usage)))
        return reply

    def _begin(self, intent: Intent) -> None:
        with transaction() as connection:
            calls.begin(connection, intent.call_id, self._context.job_id, self._worker)

    def _warn(self, error: Exception) -> None:
        """Keep the others from meeting the same, while this call still has its slot, so that none slips through.

        Of what passes, the limiter has told them.
        """
        if isinstance(error, RateLimitedError):
            observe.held(self._context.model, error.retry_after)
        elif isinstance(error, StayingError | BudgetReachedError):
            self._context.gate.close(str(error))

    def _plan(self, prompt: Prompt, request: Request) -> CallPlan:
        return CallPlan(
            prefix_tokens=SCHEMA_TOKENS + _tokens(prompt.system) + _tokens(prompt.document),
            question_tokens=count_tokens(prompt.question),
            variables=len(request.asked) + (LIST_ANSWERS if request.question.listing else 0),
        )

    def _usage(self, prompt: Prompt, reply: Reply) -> Usage | None:
        """Our own count, where the provider gave none."""
        if not is_estimated(reply.usage):
            return None
        asked = SCHEMA_TOKENS + _tokens(prompt.system) + _tokens(prompt.document) + count_tokens(prompt.question)
        return Usage(prompt_tokens=asked, cached_tokens=0, completion_tokens=count_tokens(reply.text))


@lru_cache(maxsize=64)
def _tokens(text: str) -> int:
    """Of a text that many calls share."""
    return count_tokens(text)
