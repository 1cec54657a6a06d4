"""Makes the plans of backbones, with what their sources need: small files of the Hub, and other servers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lineup.config import Config, Entry
from lineup.errors import HubError, LineupError, UnreachableError
from lineup.hub import files
from lineup.hub.circuit_breaker import CircuitBreaker
from lineup.inference.backbone_state import BackboneState

if TYPE_CHECKING:
    from lineup.registry import Plan

Elsewhere = Callable[[Entry, "Plan"], "Plan"]


class Planner:
    """Makes plans of states. Thread-safe.

    Args:
        config: returns the current config.
        breaker: knows the servers that did not respond.
        elsewhere: may set the field `remote` of a plan that has none, so that another process computes the backbone.
    """

    def __init__(
        self, config: Callable[[], Config], breaker: CircuitBreaker, elsewhere: Elsewhere | None = None
    ) -> None:
        self._config, self._breaker, self._elsewhere = config, breaker, elsewhere

    def plan(self, state: BackboneState, offline: bool = False, force: bool = False) -> "Plan":
        """Return the plan of a backbone, and make it first if necessary.

        Args:
            state: the backbone's.
            offline: send no request; a file that is not cached is an UnreachableError.
            force: send requests to servers that did not respond a moment ago.
        """
        # by a probe and a load at the same time; a Lineup that asks itself would wait here for its own request
        with state.planning if state.entry.source != "lineup" else nullcontext():
            if state.plan is None or state.plan_incomplete:
                self._make_plan(state, offline, force)
        assert state.plan
        return state.plan

    def _make_plan(self, state: BackboneState, offline: bool, force: bool) -> None:
        from lineup import registry
        from lineup.hub import downloads

        def fetch(file: files.HubFile) -> Path:
            if not offline:
                with self._breaker.guard(file, force):
                    return downloads.fetch(file, self._config().limits.hub_timeout_s)
            if path := downloads.cached(file):
                require_intact(file, path)
                return path
            raise UnreachableError(str(file), "to read it", "it is not cached", "leave --offline out")

        def sha256(file: files.HubFile) -> str:
            if (digest := downloads.cached_sha256(file)) or offline:
                return digest
            try:
                with self._breaker.guard(file, force):
                    digest, state.download_bytes = downloads.remote_metadata(file)
                state.size_known = True
            except HubError:  # reported when the weights are requested
                state.plan_incomplete = True
                return ""
            return digest

        was_incomplete, state.plan_incomplete = state.plan_incomplete, False
        context = registry.Context(
            self._config().folder,
            fetch,
            sha256,
            state.output,
            lambda: self._config().limits,
            partial(self._reach, offline=offline, force=force),
        )
        try:
            plan = registry.plan(state.entry, context)
        except LineupError:
            state.plan_incomplete = was_incomplete
            raise
        plan = plan.features() if state.output == "features" else plan
        if self._elsewhere and not plan.remote:
            plan = self._elsewhere(state.entry, plan)
        state.plan, state.download_bytes = plan, state.download_bytes or plan.download_bytes

    @contextmanager
    def _reach(self, server: str, offline: bool, force: bool) -> Iterator[None]:
        if offline:
            raise UnreachableError(server, "to ask it", "--offline allows no request", "leave --offline out")
        with self._breaker.guard_server(server, "", force):
            yield


def require_intact(file: files.HubFile | files.UrlFile, path: Path) -> None:
    """Raise an error if a cached file does not match its hash, for commands that may not download it again."""
    from lineup.hub import downloads

    if not downloads.is_intact(file, path):
        error = HubError("", "", "--offline allows no download", "leave --offline out")
        raise downloads.damaged(file, path, error)
