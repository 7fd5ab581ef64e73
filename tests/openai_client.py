"""Runs the test model service (see openai_server.py) in a process of its own, and asks what it has counted."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, cast

import httpx

from tests.openai_settings import Json


@dataclass(frozen=True)
class Stats:
    """What the server has counted. *_at is time.monotonic(), comparable between processes on Linux; *_wall
    is time.time(). Tokens are those of replies of status 200; status 0 is a connection without a reply."""

    requests: int = 0
    answered: int = 0  # replies of status 200, also those to clients that no longer waited
    duplicates: int = 0  # the same body as a request answered before or still under way
    in_flight: int = 0
    max_in_flight: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    by_status: dict[int, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    variables: dict[str, int] = field(default_factory=dict)  # how often each was asked for
    first_request_at: float | None = None
    first_request_wall: float | None = None
    last_request_at: float | None = None
    last_request_wall: float | None = None
    last_reply_at: float | None = None
    last_reply_wall: float | None = None


class OpenAIServer:
    """Runs the server in a process of its own, which ends with this one; keywords are Settings fields."""

    def __init__(self, port: int = 0, **settings: Any) -> None:
        command = [sys.executable, "-m", "tests.openai_server", "--port", str(port), "--die-with-parent"]
        root = Path(__file__).resolve().parents[1]
        # a proxy of the environment must not see what stays on this machine
        self._http = httpx.Client(trust_env=False, timeout=30)
        self._process = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            line = cast(Any, self._process.stdout).readline()
            if not line:
                raise RuntimeError(f"the server did not start, status {self._process.wait()}")
            self.url: str = json.loads(line)["url"]
            self.configure(**settings)
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def configure(self, **settings: Any) -> None:
        """Changes settings; those not given stay. A truth file is a path."""
        if isinstance(settings.get("truth"), str | Path):
            settings["truth"] = str(Path(settings["truth"]).resolve())
        self._control("POST", "configure", settings)

    def reset(self, settings: bool = False) -> None:
        """Forgets what was counted and cached, and with settings=True goes back to the default settings."""
        self._control("POST", "reset", {"settings": settings})

    def stats(self) -> Stats:
        counted = self._control("GET", "stats")
        counted["by_status"] = {int(status): count for status, count in counted["by_status"].items()}
        return Stats(**counted)

    def requests(self) -> list[Json]:
        """The log in order of arrival; with keep_bodies each line has its request's body."""
        return cast(list[Json], self._control("GET", "requests"))

    def stop(self) -> None:
        """Ends the server at once, by the end of its input, whatever is still under way."""
        self._http.close()
        try:
            self._process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def _control(self, method: str, name: str, body: Json | None = None) -> Any:
        response = self._http.request(method, self.url.removesuffix("v1") + f"control/{name}", json=body)
        if response.status_code == 400:
            raise ValueError(response.json()["error"]["message"])
        return response.raise_for_status().json()
