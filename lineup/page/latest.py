"""Which request of a page is the latest of its kind: the answers of earlier ones are discarded."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class LatestRequests:
    """The part of a page's state that counts its requests, by kind."""

    generations: Counter[str] = field(default_factory=Counter)

    def begin(self, kind: str) -> Callable[[], bool]:
        """Begin a request; the function that is returned tells whether it is the latest of its kind."""
        self.generations[kind] += 1
        number = self.generations[kind]
        return lambda: self.generations[kind] == number
