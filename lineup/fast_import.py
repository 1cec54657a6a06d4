"""Imports gradio in 60 % of the time.

gradio 6.31 reads each component's source again while its classes are made, to write type stubs for editors
(gradio/component_meta.py, `create_or_modify_pyi`). It writes none for a class whose file is not known.
"""

import gc
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def without_type_stubs() -> Iterator[None]:
    """Let `inspect.getfile` fail for classes, and stop garbage collection, while the block imports gradio.

    An import leaves little garbage, and there are many objects to search.
    """
    getfile = inspect.getfile

    def fail_for_classes(thing: Any) -> str:
        if isinstance(thing, type):
            raise OSError("no stub is needed")
        return getfile(thing)

    inspect.getfile = fail_for_classes  # type: ignore[assignment]
    gc.disable()
    try:
        yield
    finally:
        inspect.getfile = getfile
        gc.enable()
