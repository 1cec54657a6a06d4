"""How many answers are taken a day, from one user and from all."""

import hashlib
import os
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable

from lineup.errors import BusyError

DAY_S = 86_400
_DAYS = 3  # that are remembered: a clock that is set back finds the counts of that day


class Limits:
    """Counts the answers of each day, UTC, in this process. Thread-safe.

    Users behind one address share a limit, and other processes count for themselves. Of an address only a hash is in
    memory, with a key that is not stored.

    Args:
        per_visitor: most answers from one address.
        per_day: most answers of all.
        count_before: returns how many answers of a time's day there are already, when the first one of it is counted.
    """

    def __init__(self, per_visitor: int, per_day: int, count_before: Callable[[float], int] = lambda time_s: 0) -> None:
        self._per_visitor, self._per_day, self._count_before = per_visitor, per_day, count_before
        self._key, self._lock = os.urandom(16), threading.Lock()
        self._days: OrderedDict[int, Counter[bytes]] = OrderedDict()

    def take(self, visitor: str, time_s: float) -> None:
        """Count an answer.

        Raises:
            BusyError: when there were too many on this day; then it is not counted.
        """
        with self._lock:
            counts = self._of_day(time_s)
            if counts.total() >= self._per_day:
                expected, got = f"at most {self._per_day} answers a day", "today's are given"
                raise BusyError("feedback", expected, got, "try again tomorrow")
            if counts[self._hash(visitor)] >= self._per_visitor:
                expected = f"at most {self._per_visitor} answers a day from one network address"
                raise BusyError("feedback", expected, "today's are given", "try again tomorrow")
            counts[self._hash(visitor)] += 1

    def give_back(self, visitor: str, time_s: float) -> None:
        """Uncount an answer that could not be kept."""
        with self._lock:
            self._of_day(time_s)[self._hash(visitor)] -= 1

    def _of_day(self, time_s: float) -> Counter[bytes]:
        day = int(time_s // DAY_S)
        if (counts := self._days.get(day)) is None:
            counts = self._days[day] = Counter({b"": self._count_before(time_s)})
        self._days.move_to_end(day)
        while len(self._days) > _DAYS:
            self._days.popitem(last=False)
        return counts

    def _hash(self, visitor: str) -> bytes:
        return hashlib.blake2b(visitor.encode(errors="replace"), key=self._key, digest_size=16).digest()
