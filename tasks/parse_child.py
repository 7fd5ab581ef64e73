"""The child process that parses: one document at a time, with a limit on its memory. `tasks.parse_pool` starts it."""

import pickle
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name

from tasks.child import serve
from tasks.log_lines import use_log_lines
from winnow.documents import ParsedDocument
from winnow.exceptions import DocumentError

Parser = Callable[[bytes, str], ParsedDocument]
Outcome = ParsedDocument | DocumentError | ImportError
Reply = tuple[Outcome, bool]
"""What became of a document, and whether the child can take another."""

_MEGABYTE = 1_000_000


def main(parser: str, memory: str, channel: str, lifeline: str) -> None:
    """Parse what comes through the channel until its other end is closed."""
    use_log_lines()
    parse: Parser = resolve_name(parser)
    memory_mb, before = int(memory), _memory()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash leaves no document's text on the disk
    _limit_memory(before + memory_mb * _MEGABYTE)

    def answer(message: tuple[str, str]) -> bytes:
        path, name = message
        outcome = _outcome(parse, Path(path), name, memory_mb)
        # Each document finds at least half of the memory free; a child that holds on to more is replaced.
        roomy = _memory() - before < memory_mb * _MEGABYTE / 2
        try:
            return pickle.dumps((outcome, roomy))
        except MemoryError:
            return pickle.dumps((too_large(memory_mb), False))

    serve(int(channel), int(lifeline), answer)


def _outcome(parse: Parser, path: Path, name: str, memory_mb: int) -> Outcome:
    try:
        return parse(path.read_bytes(), name)
    except (DocumentError, ImportError) as error:  # a missing library is not the document's fault
        return error
    except MemoryError:
        return too_large(memory_mb)
    except Exception as error:  # noqa: BLE001 - whatever a parser raises ends this document alone
        # Without the error's own words, which may quote the document.
        return DocumentError("crashed", f"its parser failed ({type(error).__name__})")


def too_large(memory_mb: int) -> DocumentError:
    """The error of a document that wants more memory than it may have."""
    return DocumentError(
        "too_large", f"reading it takes more than {memory_mb:,} MB of memory; raise WINNOW_PARSE_MEMORY_MB to read it"
    )


def _limit_memory(size: int) -> None:
    if sys.platform == "linux":  # elsewhere the kernel does not hold to it
        resource.setrlimit(resource.RLIMIT_DATA, (size, resource.RLIM_INFINITY))


def _memory() -> int:
    """What RLIMIT_DATA counts: private memory that can be written, not the address space that libraries map."""
    if sys.platform != "linux":
        return 0
    return int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()


if __name__ == "__main__":
    main(*sys.argv[1:])
