"""Mapped task runs in bounded windows: the one way in which flows fan out."""

import contextlib
import gc
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import islice
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from prefect.context import FlowRunContext
from prefect.exceptions import Pause
from prefect.futures import PrefectFuture

from tasks.showing import Pace

_Item = TypeVar("_Item")


class _Streams(Generic[_Item]):
    """Items that may start, out of streams of stages: a stream's next stage is taken when its last one has ended."""

    def __init__(self, streams: Iterable[Iterable[Sequence[_Item]]]) -> None:
        self._streams = map(iter, streams)
        self._ready: deque[tuple[_Item, Iterator[Sequence[_Item]]]] = deque()
        self._left: dict[int, int] = {}  # items of a stream's stage that have not ended, by the stream's id

    def take(self, most: int) -> list[tuple[_Item, Iterator[Sequence[_Item]]]]:
        """Some items that may start, those of streams under way first."""
        while len(self._ready) < most and (stream := next(self._streams, None)) is not None:
            self._advance(stream)
        return [self._ready.popleft() for _ in range(min(most, len(self._ready)))]

    def ended(self, stream: Iterator[Sequence[_Item]]) -> None:
        """One of a stream's items has ended."""
        self._left[id(stream)] -= 1
        if not self._left[id(stream)]:
            del self._left[id(stream)]
            self._advance(stream)

    def _advance(self, stream: Iterator[Sequence[_Item]]) -> None:
        stage = next((stage for stage in stream if stage), None)
        if stage:
            self._left[id(stream)] = len(stage)
            self._ready.extend((item, stream) for item in stage)


def map_windows(
    submit: Callable[[Sequence[_Item]], Iterable[PrefectFuture[Any]]],
    streams: Iterable[Iterable[Sequence[_Item]]],
    *,
    window: int,
    interrupted: Callable[[], None] = lambda: None,
) -> Generator[PrefectFuture[Any]]:
    """Map items to task runs, at most `window` of them unfinished at once, and yield each one as it ends.

    Items are taken only as they are needed, and no faster than Prefect's server is told of them, so that neither the
    flow's memory nor Prefect's queues grow with their number. Leaving the loop early, by an error or a signal, calls
    `interrupted` and waits for what is under way.

    Args:
        submit: maps a few items, usually `lambda batch: task.map(...)`.
        streams: of items in stages: a stage of a stream begins when all items of the one before have ended. For items
            that wait for nothing, `[items]`-like streams of one stage each: `([[item]] for item in items)`.
    """
    source = _Streams(streams)
    ended: SimpleQueue[PrefectFuture[Any]] = SimpleQueue()
    under_way: dict[PrefectFuture[Any], Iterator[Sequence[_Item]]] = {}
    step = max(1, window // 8)
    pace = Pace()
    try:
        with _few_collections():
            while True:
                pace.keep()
                batch = source.take(min(step, window - len(under_way)))
                futures = submit([item for item, _ in batch]) if batch else ()
                for future, (_, stream) in zip(futures, batch, strict=True):
                    under_way[future] = stream
                    future.add_done_callback(ended.put)
                if not under_way:
                    return
                if batch and len(under_way) < window:
                    continue
                future = ended.get()
                for done in [future, *islice(_drained(ended), window)]:
                    _wait(done)  # it has ended; this takes its state over, so that nobody asks the server for it
                    source.ended(under_way.pop(done))
                    _forget(done)
                    yield done
    except BaseException:  # signals, and the consumer's leaving, too: raised again
        interrupted()
        raise
    finally:
        for future in under_way:
            _wait(future)


def _wait(future: PrefectFuture[Any]) -> None:
    """Wait for a task run. After it, Prefect raises where somebody has paused the flow run: others see to that."""
    with contextlib.suppress(Pause):
        future.wait()


def _forget(ended: PrefectFuture[Any]) -> None:
    """Let the task runner drop what it would cancel the task run by: it keeps a kilobyte of every one that ended."""
    flow_run = FlowRunContext.get()
    events = getattr(flow_run.task_runner, "_cancel_events", None) if flow_run else None
    if events:
        events.pop(ended.task_run_id, None)


_YOUNG = 10_000  # objects: a task run makes thousands, most of which are gone when it ends


@contextlib.contextmanager
def _few_collections() -> Iterator[None]:
    """Let Python's garbage collector leave alone what is loaded by now, while the block runs.

    To go through all modules takes it a quarter of a second, in which no thread gets on.
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_YOUNG, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def _drained(queue: SimpleQueue[PrefectFuture[Any]]) -> Iterator[PrefectFuture[Any]]:
    while not queue.empty():
        yield queue.get()
