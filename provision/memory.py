"""What one server process remembers for seconds; losing it loses nothing that matters."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Seconds = Callable[[], float]
"""A clock that never goes back."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Kept(Generic[T]):
    value: T
    until: float


class ShortMemory(Generic[T]):
    """Values that are forgotten after a time, and the oldest when there are too many."""

    def __init__(self, seconds: float, bound: int = 4_096, clock: Seconds = time.monotonic) -> None:
        self._seconds = seconds
        self._bound = bound
        self._clock = clock
        self._kept: OrderedDict[Hashable, _Kept[T]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> T | None:
        """The value, or None once it is forgotten."""
        with self._lock:
            kept = self._kept.get(key)
        return kept.value if kept is not None and kept.until > self._clock() else None

    def keep(self, key: Hashable, value: T) -> None:
        """Remember a value from now on."""
        with self._lock:
            self._kept[key] = _Kept(value, self._clock() + self._seconds)
            self._kept.move_to_end(key)
            while len(self._kept) > self._bound:
                self._kept.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()
