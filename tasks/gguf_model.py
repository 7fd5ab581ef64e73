"""A model in a file of this machine: `gguf:PATH`, run by llama.cpp inside this process.

llama.cpp's own server listens on a free local port and speaks OpenAI's protocol, so that everything else is as with
any other server: schema, deadline, errors, cached tokens. Only this process knows its key.
"""

import atexit
import hashlib
import os
import secrets
import threading
import time
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import httpx2

from winnow.exceptions import ModelSetupError

PREFIX = "gguf:"
CONTEXT_TOKENS = 8192  # or what the model was trained for, where that is less
LONGEST_REPLY_TOKENS = 1024  # a small model can repeat itself for ever: such a reply ends as cut short
CACHED_PROMPTS_MB = 1024

_SAMPLE = 1 << 20
_LONGEST_LEAVE = 150.0  # seconds; a call ends by itself, at the latest in `timeout_seconds`


@dataclass(frozen=True)
class Served:
    """A model that is loaded, and where it listens."""

    url: str
    key: str
    server: Any  # the model lives as long as this
    client: httpx2.Client
    # One call at a time: to wait for another must not count as a slow call.
    turn: threading.Lock = field(default_factory=threading.Lock)


def parameters(model: str) -> dict[str, Any]:
    """What shapes a reply beside the temperature: the file, by its size and a hash of its first and last megabyte.

    Raises:
        ModelSetupError: there is no such file, or it is no GGUF file.
    """
    path = _path(model)
    return {"file": _identity(path, *_stamp(path)), "max_tokens": LONGEST_REPLY_TOKENS}


def serve(model: str) -> Served:
    """Load the model, once per process.

    Raises:
        ModelSetupError: the file or the package is missing, or the file cannot be loaded.
    """
    path = _path(model)
    return _serve(path, *_stamp(path))


def _path(model: str) -> Path:
    path = Path(os.path.abspath(Path(model.removeprefix(PREFIX).strip()).expanduser()))
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise ModelSetupError(
            f"The model file {path} cannot be read: {error.strerror}. Write gguf: and the path of a .gguf file."
        ) from None
    if start != b"GGUF":
        raise ModelSetupError(f"The file {path} is no GGUF file. Write gguf: and the path of a model in that format.")
    return path


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=64)
def _identity(path: Path, size: int, changed: int) -> str:  # noqa: ARG001 # a file that was changed is read again
    with path.open("rb") as file:
        sample = hashlib.sha256(file.read(_SAMPLE))
        file.seek(max(0, size - _SAMPLE))
        sample.update(file.read(_SAMPLE))
    return f"{size}-{sample.hexdigest()[:16]}"


@cache
def _serve(path: Path, size: int, changed: int) -> Served:  # noqa: ARG001
    try:
        import xllamacpp
    except ImportError as error:
        raise ModelSetupError(
            "A gguf model needs a package that is not installed here. "
            "Install it with `pip install xllamacpp` and run again."
        ) from error
    key = secrets.token_urlsafe(24)
    try:
        server = xllamacpp.Server(_options(xllamacpp.CommonParams(), path, key))
    except RuntimeError as error:
        raise ModelSetupError(
            f"The model file {path} cannot be loaded: it is damaged, of a kind that the installed xllamacpp does not "
            "know, or too large for this machine's memory."
        ) from error
    # A proxy of the environment must not see what stays on this machine.
    client = httpx2.Client(trust_env=False)
    served = Served(f"{server.listening_address}/v1", key, server, client)
    atexit.register(_leave, served)
    return served


def _leave(served: Served) -> None:
    """Let a call that is under way end, and start no other: llama.cpp hangs if it is torn down in the middle."""
    if not served.turn.acquire(blocking=False) and served.turn.acquire(timeout=_LONGEST_LEAVE):
        time.sleep(1)  # one that ran out of time is given up on its side a little later
    served.client.close()


def _options(options: Any, path: Path, key: str) -> Any:
    options.model.path = str(path)
    options.n_ctx, options.n_parallel = CONTEXT_TOKENS, 1
    options.cache_ram_mib = CACHED_PROMPTS_MB
    options.hostnames, options.port, options.api_keys = ["127.0.0.1"], 0, [key]
    options.ui = options.endpoint_slots = False
    options.n_batch = 512  # a call can be given up between two batches
    options.verbosity = 0
    # Writing waits for memory more than for cores; threads that spin meanwhile made a busy machine seven times slower.
    options.cpuparams.n_threads = max(1, (os.cpu_count() or 2) // 2)
    options.cpuparams.poll = options.cpuparams_batch.poll = 0
    return options
