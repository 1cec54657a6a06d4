"""Imports timm and torchvision without torch's compiler: 1.3 s and 150 MB that nobody here needs.

torchvision asks it whether finding objects could be compiled, and timm tells it not to compile one iterator; for as
long as these two are imported, modules that say no stand in its place.
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
    there = {name: sys.modules.get(name) for name in _COMPILER}
    if not any(there.values()):  # else it is imported already, as on ZeroGPU
        sys.modules.update({name: _stub(name) for name in _COMPILER})
    try:
        import timm  # noqa: F401
        import torchvision  # noqa: F401
    finally:
        if not any(there.values()):
            for name in _COMPILER:
                del sys.modules[name]
            vars(torch).pop("_dynamo", None)  # whoever needs the compiler later imports it


_import()
