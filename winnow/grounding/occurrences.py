"""Where a text stands in another one, and which of several places is meant."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

Span = tuple[int, int]

_TRIES = 10_000  # places looked at, each way: a text of one letter over and over must not hold up a run


@dataclass(frozen=True)
class Area:
    """The stretch of a text to look in, and what the place should be near to."""

    start: int
    end: int
    near: tuple[Span, ...] = ()

    def moved(self, reached: Callable[[int], int]) -> "Area":
        """The same area in another form of the text; `reached` leads from one to the other."""
        near = tuple((reached(start), reached(end)) for start, end in self.near)
        return Area(reached(self.start), reached(self.end), near)

    def distance(self, start: int, end: int) -> int:
        """How far a span is from what it should be near to: 0 where they touch."""
        return min((max(0, start - right, left - end) for left, right in self.near), default=0)


def occurrences(text: str, wanted: str, start: int, end: int) -> Iterator[int]:
    """Every place, overlapping ones too, from the first to the last."""
    at = text.find(wanted, start, end)
    while at >= 0:
        yield at
        at = text.find(wanted, at + 1, end)


def _backwards(text: str, wanted: str, start: int, end: int) -> Iterator[int]:
    at = text.rfind(wanted, start, end)
    while at >= 0:
        yield at
        at = text.rfind(wanted, start, at + len(wanted) - 1)


def best_occurrence(text: str, wanted: str, area: Area, rank: Callable[[int], int]) -> int | None:
    """The place of the highest rank (2 good, 1 fair, 0 none); among equals the nearest, else the first."""
    if text.find(wanted, area.start, area.end) < 0:
        return None
    if not area.near:
        return _best([_first(occurrences(text, wanted, area.start, area.end), rank, _TRIES)])
    tries = _TRIES // len(area.near)
    found: list[tuple[int | None, int | None]] = []
    for left, _ in area.near:
        turn = min(max(left, area.start), area.end)
        found.append(_first(occurrences(text, wanted, turn, area.end), rank, tries))
        found.append(_first(_backwards(text, wanted, area.start, min(turn + len(wanted) - 1, area.end)), rank, tries))
    return _best(found, lambda at: area.distance(at, at + len(wanted)))


def _first(places: Iterator[int], rank: Callable[[int], int], tries: int) -> tuple[int | None, int | None]:
    """The first good place, or else the first fair one."""
    fair = None
    for at in islice(places, tries):
        value = rank(at)
        if value == 2:
            return at, None
        if value == 1 and fair is None:
            fair = at
    return None, fair


def _best(found: list[tuple[int | None, int | None]], distance: Callable[[int], int] = int) -> int | None:
    good = [at for at, _ in found if at is not None]
    fair = [at for _, at in found if at is not None]
    return min(good or fair, key=lambda at: (distance(at), at), default=None)
