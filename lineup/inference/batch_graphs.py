"""Compiles, in the background, the graphs with which engines compute several images at the same time."""

import logging
import threading
import weakref
from typing import TYPE_CHECKING

from lineup.inference.backbone_state import Loaded
from lineup.inference.pool import Pin, Pool

if TYPE_CHECKING:
    from lineup.engines.engine import Engine

_log = logging.getLogger(__name__)


class BatchGraphs:
    """The graphs for several images of a pool's engines. Thread-safe."""

    def __init__(self, pool: Pool) -> None:
        self._pool, self._lock = pool, threading.Lock()
        self._begun: weakref.WeakSet[Engine] = weakref.WeakSet()

    def prepare(self, name: str, loaded: Loaded) -> None:
        """Begin to compile the graph of a loaded backbone's engine, once.

        It is not compiled if another backbone would have to be evicted for it.
        """
        engine = loaded.engine
        with self._lock:
            if not engine.batch_memory_bytes or engine in self._begun:
                return
            self._begun.add(engine)
        pin = self._pool.pin(name)
        if pin.has_free_memory(loaded):
            threading.Thread(target=_compile, args=(name, loaded, pin), name=f"compile {name}", daemon=True).start()
        else:
            pin.release()


def _compile(name: str, loaded: Loaded, pin: Pin) -> None:
    try:
        loaded.engine.prepare_batches()
    except Exception:
        _log.exception("%s computes one image at a time", name)
    finally:
        pin.release()
