"""Imports timm and torchvision without torch's compiler, which is not used here.

torchvision 0.29 asks the compiler what it supports (torchvision/ops/roi_align.py:7), and timm 1.0.31 excludes functions
from compilation (timm/models/naflexvit.py:276). Stub modules, which disable both, replace torch._dynamo during the
import. `python benchmarks/patches.py 3 compiler`, on two busy cores: 4.0 s and 599 MB instead of 8.3 s and 738 MB.
"""

import logging
import sys
from importlib import import_module
from types import ModuleType

import torch

_log = logging.getLogger(__name__)

_COMPILER = ("torch._dynamo", "torch._dynamo.utils")
_LIBRARIES = ("timm", "torchvision")


def _stub(name: str) -> ModuleType:
    module = ModuleType(name)
    module.is_compile_supported = lambda device: False  # type: ignore[attr-defined]
    module.disable = lambda function=None, *_, **__: function or (lambda wrapped: wrapped)  # type: ignore[attr-defined]
    return module


def _import() -> None:
    """Import the libraries; plainly if the compiler is imported already, as on ZeroGPU, or if they need more of it."""
    if not any(name in sys.modules for name in _COMPILER):
        try:
            _import_with_stubs()
        except (ImportError, AttributeError) as error:
            _log.warning("timm and torchvision need torch's compiler, which is imported too: %s", error)
    for name in _LIBRARIES:
        import_module(name)


def _import_with_stubs() -> None:
    sys.modules.update({name: _stub(name) for name in _COMPILER})
    try:
        for name in _LIBRARIES:
            import_module(name)
    finally:
        for name in _COMPILER:
            del sys.modules[name]
        vars(torch).pop("_dynamo", None)  # a later import gets the real module


_import()
