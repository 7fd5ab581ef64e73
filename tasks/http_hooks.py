"""What the providers' clients leave undone: to end a call in its time, and to keep what came back, readable or not.

Their timeout counts from byte to byte, so that a body that drips in would hold a cell as long as it likes. And a reply
in a form that they do not know is lost in their error, though it was paid for.
"""

import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import httpx2

Client = httpx.Client | httpx2.Client
Response = httpx.Response | httpx2.Response

_this = threading.local()  # a call begins and ends in one thread


class _InTime(httpx.SyncByteStream, httpx2.SyncByteStream):
    """A body that has to be there in time."""

    def __init__(self, stream: Any, until: float) -> None:
        self._stream, self._until = stream, until
        self._late = httpx.ReadTimeout if isinstance(stream, httpx.SyncByteStream) else httpx2.ReadTimeout

    def __iter__(self) -> Iterator[bytes]:
        for part in self._stream:
            if time.monotonic() > self._until:
                raise self._late("the body drips in")
            yield part

    def close(self) -> None:
        """Let the connection go."""
        self._stream.close()


def client_of(chat: Any) -> Client | None:
    """The HTTP client beneath a chat model of LangChain's; None where it has none that can be watched."""
    for path in (("root_client", "_client"), ("_client", "_client"), ("client",)):  # OpenAI; Anthropic, Ollama; Mistral
        found = chat
        for name in path:
            found = getattr(found, name, None)
        if isinstance(found, httpx.Client | httpx2.Client):
            return found
    return None


def watch(client: Client, seconds: float) -> None:
    """Watch over a client's calls. To watch it again changes nothing."""

    def start(_: Any) -> None:
        _this.until = time.monotonic() + seconds

    def keep(response: Any) -> None:
        response.stream = _InTime(response.stream, _this.until)
        _this.response = response

    client.event_hooks = {"request": [start], "response": [keep]}


def take_response() -> Response | None:
    """What came back to this thread since it was last taken."""
    response: Response | None = getattr(_this, "response", None)
    _this.response = None
    return response
