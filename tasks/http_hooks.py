"""What OpenAI's client leaves undone: to end a call in its time, and to keep what came back when it cannot read it.

Its timeout counts from byte to byte, so that a body that drips in would hold a cell as long as it likes. And a reply in
a form that it does not know is lost in its error, though it was paid for.
"""

import threading
import time
from collections.abc import Iterator

import httpx2

_this = threading.local()  # a call begins and ends in one thread


class _InTime(httpx2.SyncByteStream):
    """A body that has to be there in time."""

    def __init__(self, stream: httpx2.SyncByteStream, until: float) -> None:
        self._stream, self._until = stream, until

    def __iter__(self) -> Iterator[bytes]:
        for part in self._stream:
            if time.monotonic() > self._until:
                raise httpx2.ReadTimeout("the body drips in")
            yield part

    def close(self) -> None:
        """Let the connection go."""
        self._stream.close()


def watch(client: httpx2.Client, seconds: float) -> None:
    """Watch over a client's calls. To watch it again changes nothing."""

    def start(_: httpx2.Request) -> None:
        _this.until = time.monotonic() + seconds

    def keep(response: httpx2.Response) -> None:
        assert isinstance(response.stream, httpx2.SyncByteStream)  # noqa: S101 # it is no asynchronous client
        response.stream = _InTime(response.stream, _this.until)
        _this.response = response

    client.event_hooks = {"request": [start], "response": [keep]}


def take_response() -> httpx2.Response | None:
    """What came back to this thread since it was last taken."""
    response: httpx2.Response | None = getattr(_this, "response", None)
    _this.response = None
    return response
