"""Keeps the loaded backbones within a memory budget by LRU eviction."""

import logging
import threading
import time
from collections.abc import Collection

from lineup.engines import devices
from lineup.errors import BackboneError, BusyError
from lineup.inference.backbone_state import BackboneState
from lineup.results import Progress

_log = logging.getLogger(__name__)

MEMORY_TIMEOUT_S = 60.0  # how long a load waits for memory that others are using
MEMORY_SHARE = 0.6  # of the device's memory, unless the config has limits.memory_mb
_ACTIVATION_BYTES = 64 << 20  # per backbone, beside its weights
_PARAMETER_BYTES = 12  # while a network is converted there are three copies: torch's, the converted file, the engine


class MemoryBudget:
    """Reserves memory for loads.

    Args:
        states: all backbones of the pool.
        changed: condition that guards the states; notified when one is released or fails.
        memory_mb: the config's `limits.memory_mb`; None for a share of the device's memory.
    """

    def __init__(self, states: Collection[BackboneState], changed: threading.Condition, memory_mb: int | None) -> None:
        self._states, self._changed, self._memory_mb = states, changed, memory_mb

    def reserve(self, state: BackboneState, parameters: int, device: str) -> None:
        """Reserve the memory of a backbone; evict the least recently used others until it fits.

        Raises:
            BackboneError: when it needs more than the whole budget.
            BusyError: when others need their memory for longer than MEMORY_TIMEOUT_S.
        """
        name, limit = state.entry.name, self._memory_mb
        budget = limit << 20 if limit else int(devices.memory_bytes(device) * MEMORY_SHARE)
        needed, deadline = parameters * _PARAMETER_BYTES + _ACTIVATION_BYTES, time.monotonic() + MEMORY_TIMEOUT_S
        if needed > budget:
            remedy = "choose a smaller one" + (", or raise limits.memory_mb" if limit else "")
            fits = f"a backbone that fits into {budget >> 20} MB"
            raise BackboneError(name, fits, f"it needs about {needed >> 20} MB", remedy)
        others = [other for other in self._states if other is not state]
        evicted = False
        with self._changed:
            while sum(other.memory_bytes for other in others) + needed > budget:
                candidates = [other for other in others if other.evictable]
                if victim := min(candidates, key=lambda other: other.used_at, default=None):
                    _log.info("%s is evicted for %s", victim.entry.name, name)
                    victim.load, victim.memory_bytes, evicted = None, 0, True
                    continue
                state.progress = Progress("waiting for memory")
                if not self._changed.wait(deadline - time.monotonic()):
                    raise BusyError(
                        name,
                        f"{needed >> 20} MB for it",
                        "the other backbones are in use and need their memory",
                        "try again in some seconds",
                    )
            state.memory_bytes = needed
        if evicted:
            devices.release_memory()
