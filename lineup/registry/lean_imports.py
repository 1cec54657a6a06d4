"""Imports timm and torchvision without torch's compiler, which takes 1.3 s and 150 MB and is not used.

torchvision queries it for the compilation of object detection, and timm excludes one iterator from compilation: stub
modules, which disable both, replace torch._dynamo during the import.
"""

import sys
from types import ModuleType

import torch

_COMPILER = ("torch._dynamo", "torch._dynamo.utils")


def _stub(name: str) -> ModuleType:
    module = ModuleType(name)
    module.is_compile_supported = lambda device: False  # type: ignore[attr-defined]
    module.disable = lambda function=None, *_, **__: function or (lambda wrapped: wrapped)  # type: ignore[attr-defined]
    return module


def _import() -> None:
    imported = {name: sys.modules.get(name) for name in _COMPILER}
    if not any(imported.values()):  # otherwise it is imported already, as on ZeroGPU
        sys.modules.update({name: _stub(name) for name in _COMPILER})
    try:
        import timm  # noqa: F401
        import torchvision  # noqa: F401
    finally:
        if not any(imported.values()):
            for name in _COMPILER:
                del sys.modules[name]
            vars(torch).pop("_dynamo", None)  # a later import gets the real module


_import()
