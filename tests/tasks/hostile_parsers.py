"""A parser for child processes that does what the document says, and else parses it as plain text."""

import ctypes
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from winnow.documents import Block, ParsedDocument
from winnow.exceptions import DocumentError

_held: list[bytes] = []


def parse(data: bytes, name: str) -> ParsedDocument:
    word, _, rest = data.decode().partition(" ")
    text = str(DEEDS[word](rest)) if word in DEEDS else data.decode()
    whole = Block(kind="paragraph", start=0, end=len(text))
    return ParsedDocument(text=text, blocks=(whole,), media_type="text/plain", parser="hostile 1")


def hang(_: str) -> None:
    re.match("(a+)+$", "a" * 60 + "b")  # C code that never gives other threads a turn


def segfault(_: str) -> None:
    ctypes.string_at(0)


def be_killed(_: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def eat(_: str) -> None:
    eaten = []
    while True:
        eaten.append(bytes(50_000_000))


def hold(megabytes: str) -> str:
    _held.append(bytes(int(megabytes) * 1_000_000))
    return "held"


def reply(megabytes: str) -> str:
    hold("420")
    return "a" * int(megabytes) * 1_000_000


def fail(_: str) -> None:
    raise ValueError("secret words")


def refuse(_: str) -> None:
    raise DocumentError("encrypted", "it has a password")


def miss(_: str) -> None:
    raise ImportError("a library is missing")


def meet(folder: str) -> str:
    """Wait until two documents are being parsed in this folder."""
    Path(folder, str(os.getpid())).touch()
    while len(os.listdir(folder)) < 2:
        time.sleep(0.01)
    return str(os.getpid())


DEEDS: dict[str, Callable[[str], object]] = {
    "hang": hang,
    "segfault": segfault,
    "be_killed": be_killed,
    "abort": lambda _: os.abort(),
    "exit": lambda _: sys.exit(3),
    "eat": eat,
    "hold": hold,
    "reply": reply,
    "fail": fail,
    "refuse": refuse,
    "miss": miss,
    "meet": meet,
    "pid": lambda _: os.getpid(),
}
