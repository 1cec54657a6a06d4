"""Imports gradio without the type stubs that it would write, in half the time.

gradio 6.31 re-reads the source of each component while its class is created, to write type stubs for editors
(gradio/component_meta.py:118, in `create_or_modify_pyi`). It skips classes whose source file is unknown.
`python benchmarks/patches.py 3 gradio`, on two busy cores: 6.8 s instead of 13.3 s.
"""

import gc
import inspect
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

_log = logging.getLogger(__name__)


def import_modules(*names: str) -> None:
    """Import modules without type stubs, or plainly if they do not skip classes of an unknown file any more."""
    try:
        with _without_type_stubs():
            for name in names:
                import_module(name)
    except Exception as error:
        _log.warning("%s cannot be imported without its type stubs (%s), and is imported with them", names[0], error)
        for name in names:
            import_module(name)


@contextmanager
def _without_type_stubs() -> Iterator[None]:
    """Make `inspect.getfile` fail for classes, and disable garbage collection.

    An import creates little garbage but many objects that a collection has to traverse.
    """
    getfile = inspect.getfile

    def fail_for_classes(value: Any) -> str:
        if isinstance(value, type):
            raise OSError("no stub is needed")
        return getfile(value)

    inspect.getfile = fail_for_classes  # type: ignore[assignment]
    gc.disable()
    try:
        yield
    finally:
        inspect.getfile = getfile
        gc.enable()
