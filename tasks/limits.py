"""The limits and the circuit breaker of a provider key, which all processes share through the database.

While no limit is set and nothing is known against the key, this costs no round trip: `db.calls.intend` says so on its
way.
"""

import contextlib
import hashlib
import hmac
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

from db import providers
from db.session import at_once
from tasks.chat_models import BASELINE
from tasks.gates import Gate
from tasks.gguf_model import PREFIX as GGUF
from tasks.provider_errors import KEYS
from winnow.calls import Standing
from winnow.exceptions import DatabaseDownError, PassingError, ProviderError, RateLimitedError
from winnow.settings import settings

logger = logging.getLogger(__name__)

_ADDRESSES = ("BASE_URL", "API_BASE", "API_URL", "ENDPOINT", "HOST")


def provider_key(model: str) -> str | None:
    """A name for the provider, its address and the key that a model is asked with; None for a model on this machine.

    It is the same in every process that uses the key. Nothing secret can be read out of it, or be tried out without
    the key itself: the key is what the rest is hashed with (HMAC-SHA256).
    """
    if model == BASELINE or model.startswith(GGUF):
        return None
    provider = model.partition(":")[0]
    key_name = KEYS.get(provider, f"{provider.upper().replace('-', '_')}_API_KEY")
    prefix = key_name.removesuffix("_API_KEY")
    addresses = [os.environ.get(f"{prefix}_{name}", "").rstrip("/") for name in _ADDRESSES]
    return hmac.digest(
        os.environ.get(key_name, "").encode(), "\n".join([provider, *addresses]).encode(), hashlib.sha256
    ).hex()


class Limiter:
    """What stands between a job's calls and their provider. Threads share it."""

    def __init__(self, key: str | None, gate: Gate) -> None:
        self.key = key
        self._gate = gate
        self._requests, self._tokens = settings().requests_per_minute, settings().tokens_per_minute
        self._failing = False  # the key's last call from here failed

    @property
    def counts_tokens(self) -> bool:
        """Whether it matters how many tokens a call uses."""
        return bool(self.key and self._tokens)

    @contextlib.contextmanager
    def admitted(self, standing: Standing, tokens: int, waited: Callable[[], None]) -> Iterator[None]:
        """Wait until the provider may be called, make the call in the block, and tell everyone how it went.

        Args:
            standing: of the key, as it was just now.
            tokens: that the call is expected to use.
            waited: is called where there was something to wait for, before the block.

        Raises:
            JobStoppedError: the gate was closed meanwhile.
        """
        probe = self._take_place(standing, tokens, waited)
        try:
            yield
        except RateLimitedError as error:
            self._hold(error.retry_after)
            self._give_back(probe)
            raise
        except PassingError:
            self._failing = True
            self._tell(providers.failed, probe=probe)
            raise
        except ProviderError:  # it is there, whatever it says
            self._succeeded(standing, probe)
            raise
        except BaseException:  # raised again: it says nothing of the provider
            self._give_back(probe)
            raise
        self._succeeded(standing, probe)

    def _take_place(self, standing: Standing, tokens: int, waited: Callable[[], None]) -> bool:
        """Whether the call is a probe of a provider that has failed."""
        if not self.key or (standing != "held" and not self._requests and not self._tokens):
            return False
        with self._gate.turn():
            place = self._place(tokens)
            immediate = place.given and not place.wait
            while not place.given:
                if place.held:
                    self._gate.hold(place.wait)
                self._gate.wait(place.wait)
                place = self._place(tokens)
            if immediate:
                return place.probe
            try:
                self._gate.wait(place.wait)
                waited()
            except BaseException:  # raised again: the call is not made
                self._give_back(place.probe)
                raise
        return place.probe

    def _place(self, tokens: int) -> providers.Place:
        with at_once() as connection:
            return providers.take(
                connection, self.key or "", requests_per_minute=self._requests, tokens_per_minute=self._tokens,
                tokens=tokens, probe_seconds=settings().timeout_seconds + 30,
            )  # fmt: skip

    def _hold(self, seconds: float | None) -> None:
        """Here at once, while the call still has its slot, so that none slips through; and everywhere."""
        if seconds:
            self._gate.hold(seconds)
            self._tell(providers.hold, seconds=seconds)

    def _succeeded(self, standing: Standing, probe: bool) -> None:
        if probe or self._failing or standing == "failing":
            self._failing = False
            self._tell(providers.succeeded, probe=probe)

    def _give_back(self, probe: bool) -> None:
        if probe:
            self._tell(providers.give_back)

    def _tell(self, what: Callable[..., None], **more: Any) -> None:
        """What the others should know. That they cannot be told does not spoil the call."""
        if not self.key:
            return
        try:
            with at_once() as connection:
                what(connection, self.key, **more)
        except DatabaseDownError:
            logger.warning("The other workers could not be told how a call to the provider went")
