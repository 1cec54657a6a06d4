"""Keeps the loaded backbones within a memory budget by LRU eviction."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable
from typing import Literal

from lineup.config import Config
from lineup.engines import devices
from lineup.errors import BackboneError, BusyError
from lineup.inference.backbone_state import BackboneState, Loaded
from lineup.results import Progress

_log = logging.getLogger(__name__)
_Part = Literal["memory_bytes", "network_bytes", "batch_bytes"]

MEMORY_TIMEOUT_S = 60.0  # how long a load waits for memory that others are using
MEMORY_SHARE = 0.6  # of the device's memory, unless the config has limits.memory_mb
_ACTIVATION_BYTES = 64 << 20  # per backbone, beside its weights
_PARAMETER_BYTES = 12  # while a network is converted there are three copies: torch's, the converted file, the engine
_NETWORK_PARAMETER_BYTES = 4  # of a float32 network alone
_GRADIENT_BYTES = 256 << 20  # per network, for the activations that the backward pass of an image keeps


class MemoryBudget:
    """Reserves memory for engines and networks.

    Args:
        states: returns the states of all backbones that may use memory.
        changed: condition that guards the states; notified when one is unpinned or fails.
        config: returns the current config, for `limits.memory_mb`; a share of the device's memory if that is None.
    """

    def __init__(
        self,
        states: Callable[[], Collection[BackboneState]],
        changed: threading.Condition,
        config: Callable[[], Config],
    ) -> None:
        self._states, self._changed, self._config = states, changed, config

    def reserve(self, state: BackboneState, parameters: int, device: str) -> None:
        """Reserve the memory of a backbone's engine; evict the least recently used others until it fits.

        Raises:
            BackboneError: when it needs more than the whole budget.
            BusyError: when others need their memory for longer than MEMORY_TIMEOUT_S.
        """
        self._reserve(state, "memory_bytes", parameters * _PARAMETER_BYTES + _ACTIVATION_BYTES, device)

    def reserve_network(self, state: BackboneState, parameters: int, device: str) -> None:
        """Reserve the memory of a torch network and its gradients, beside its engine's; raise as `reserve` does."""
        self._reserve(state, "network_bytes", parameters * _NETWORK_PARAMETER_BYTES + _GRADIENT_BYTES, device)

    def reserve_batches(self, state: BackboneState, loaded: Loaded) -> None:
        """Reserve what an engine takes for its first batch of several images; raise as `reserve` does."""
        if loaded.engine.batch_memory_bytes > state.batch_bytes:
            self._reserve(state, "batch_bytes", loaded.engine.batch_memory_bytes, loaded.device)

    def reserves_free_batches(self, state: BackboneState, loaded: Loaded) -> bool:
        """Reserve what `reserve_batches` does if no other backbone has to be evicted for it; tell whether there is."""
        needed = loaded.engine.batch_memory_bytes
        with self._changed:
            if state.batch_bytes < needed:
                used = sum(other.total_bytes for other in self._states()) - state.batch_bytes
                if used + needed > self._budget(loaded.device):
                    return False
                state.batch_bytes = needed
        return True

    def _budget(self, device: str) -> int:
        limit = self._config().limits.memory_mb
        return limit << 20 if limit else int(devices.memory_bytes(device) * MEMORY_SHARE)

    def _reserve(self, state: BackboneState, part: _Part, needed: int, device: str) -> None:
        name, limit, budget = state.entry.name, self._config().limits.memory_mb, self._budget(device)
        deadline, evicted = time.monotonic() + MEMORY_TIMEOUT_S, False
        with self._changed:
            setattr(state, part, 0)
            total = state.total_bytes + needed
            if total > budget:
                remedy = "choose a smaller one" + (", or raise limits.memory_mb" if limit else "")
                fits = f"a backbone that fits into {budget >> 20} MB"
                raise BackboneError(name, fits, f"it needs about {total >> 20} MB", remedy)
            while sum(other.total_bytes for other in self._states()) + needed > budget:
                if self._evict_one(state):
                    evicted = True
                    continue
                state.progress = Progress("waiting for memory")
                if not self._changed.wait(deadline - time.monotonic()):
                    raise BusyError(
                        name,
                        f"{needed >> 20} MB for it",
                        "the other backbones are in use and need their memory",
                        "try again in some seconds",
                    )
            setattr(state, part, needed)
        if evicted:
            devices.release_memory()

    def _evict_one(self, state: BackboneState) -> bool:
        """Free the least recently used network, or else the least recently used backbone; return whether there is one.

        A network is faster to load again than a backbone.
        """
        others = [other for other in self._states() if other is not state]
        if victim := _least_recently_used(other for other in others if other.network_evictable):
            _log.info("the network of %s is freed for %s", victim.entry.name, state.entry.name)
        elif victim := _least_recently_used(other for other in others if other.evictable):
            _log.info("%s is evicted for %s", victim.entry.name, state.entry.name)
            victim.load, victim.memory_bytes, victim.batch_bytes = None, 0, 0
        else:
            return False
        victim.network, victim.network_bytes = None, 0
        return True


def _least_recently_used(states: Iterable[BackboneState]) -> BackboneState | None:
    return min(states, key=lambda state: state.used_at, default=None)
