"""The start: loads the default backbone first, then probes the others, and falls back if the default cannot run."""

import logging
import threading
from collections.abc import Callable

from lineup.config import Config
from lineup.inference.execution import Execution

_log = logging.getLogger(__name__)


class Startup:
    """The start of one service.

    Args:
        config: returns the current config.
        execution: loads the backbones.

    Attributes:
        begun: whether `run` was called.
        default_resolved: set once it is decided which backbone the page opens with.
        probed: set once every entry has been probed.
    """

    def __init__(self, config: Callable[[], Config], execution: Execution) -> None:
        self._config, self._execution, self._pool = config, execution, execution.pool
        self.begun = False
        self.default_resolved, self.probed = threading.Event(), threading.Event()
        self._fallback = config().default_name

    def run(self) -> None:
        """Load and probe: in the background, or now where backbones are not loaded on demand."""
        self.begun = True
        if self._execution.loads_on_demand:
            threading.Thread(target=self._load_and_probe, name="start", daemon=True).start()
            return
        self._execution.start()
        self._choose_fallback()
        self.probed.set()

    @property
    def default_problem(self) -> str:
        """Return why the default backbone cannot run, or an empty string."""
        return self._pool.status(self._config().default_name).reason

    @property
    def preselected(self) -> str:
        """Return the backbone that the page opens with: the default, or the first that can run instead."""
        return self._fallback if self.default_problem else self._config().default_name

    def probe(self, offline: bool = False) -> None:
        """Probe each entry."""
        for name in self._pool.names:
            self._pool.probe(name, offline)

    def _load_and_probe(self) -> None:
        try:
            if self._pool.start(self._config().default_name).exception() is None:  # waits for the load
                self.default_resolved.set()
            self.probe()
            self._choose_fallback()
        except Exception:
            _log.exception("the start failed")
        finally:
            self.default_resolved.set()
            self.probed.set()

    def _choose_fallback(self) -> None:
        if self.default_problem:
            self._fallback = self._first_that_runs() or self._config().default_name
        self.default_resolved.set()

    def _first_that_runs(self) -> str | None:
        """Load available backbones in the config's order until one can run."""
        for status in self._pool.statuses():
            if status.status == "unavailable":
                continue
            if self._pool.start(status.name).exception() is None:
                return status.name
        return None
