"""Reports the progress of the Hub client's downloads.

The client updates a progress bar once per chunk of 10 MB (huggingface_hub/file_download.py:459), for which it has no
setting. On a slow connection that takes longer than the timeout for a new byte. Smaller chunks let a byte show after
0.3 s instead of 10 at 1 MB/s. A client that has another constant for this uses its own chunks.
"""

from collections.abc import Callable
from typing import Any

from huggingface_hub import constants

Report = Callable[[int, int | None], None]  # bytes downloaded, and the total if known

CHUNK_BYTES = 1 << 18
constants.DOWNLOAD_CHUNK_SIZE = CHUNK_BYTES


def reporting_bar(report: Report) -> type:
    """Return a class with the interface of tqdm, which the Hub's client expects, that only reports progress."""

    class Bar:
        def __init__(self, *args: Any, initial: int = 0, total: int | None = None, **kwargs: Any) -> None:
            self._done = self._furthest = initial
            self._total = total

        def update(self, n: float | None = 1) -> None:
            self._done += int(n or 0)
            if self._done > self._furthest:  # a download that starts over repeats bytes
                self._furthest = self._done
                report(self._done, self._total)

        def __enter__(self) -> "Bar":
            return self

        def __exit__(self, *_: object) -> None: ...

        def __getattr__(self, name: str) -> Callable[..., None]:  # close, refresh, set_description, …
            return lambda *args, **kwargs: None

    return Bar
