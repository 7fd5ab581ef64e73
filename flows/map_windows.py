"""Mapped task runs in bounded windows: the one way in which flows fan out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from queue import SimpleQueue
from typing import Any, TypeVar

from prefect.futures import PrefectFuture

_Item = TypeVar("_Item")


def map_windows(
    submit: Callable[[Sequence[_Item]], Iterable[PrefectFuture[Any]]],
    items: Iterable[_Item],
    *,
    window: int,
    interrupted: Callable[[], None] = lambda: None,
) -> Iterator[PrefectFuture[Any]]:
    """Map items to task runs, at most `window` of them unfinished at once, and yield each one as it ends.

    Items are taken only as they are needed, so that neither the flow's memory nor Prefect's queues grow with their
    number. Leaving the loop early, by an error or a signal, calls `interrupted` and waits for what is under way.

    Args:
        submit: maps a few items, usually `lambda batch: task.map(...)`.
    """
    ended: SimpleQueue[PrefectFuture[Any]] = SimpleQueue()
    under_way: set[PrefectFuture[Any]] = set()
    source = iter(items)
    step = max(1, window // 8)
    try:
        while True:
            batch = list(islice(source, min(step, window - len(under_way))))
            for future in submit(batch) if batch else ():
                under_way.add(future)
                future.add_done_callback(ended.put)
            if not under_way:
                return
            if batch and len(under_way) < window:
                continue
            while under_way and (not batch or len(under_way) > window - step):
                future = ended.get()
                future.wait()  # it has ended; this takes its state over, so that nobody asks the server for it
                under_way.discard(future)
                yield future
    except BaseException:  # signals, and the consumer's leaving, too: raised again
        interrupted()
        raise
    finally:
        for future in under_way:
            future.wait()
