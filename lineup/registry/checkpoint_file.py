"""Reads a checkpoint file into dicts of tensors, without executing any code in it."""

import os
import pickletools
import re
import threading
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from lineup.errors import BackboneError, brief

_SAVE = "save it again: torch.save(model.state_dict(), …)"
_STATE_DICT = "a state dict and nothing else"

_MAGIC = (  # what a file begins with, what it is, and the remedy
    (rb"version https://git-lfs", "a Git LFS pointer instead of the file", "run `git lfs pull` in its folder"),
    (rb"\s*<(!doctype|html|\?xml|head)", "a web page", "download the file itself; the page may ask to log in first"),
    (rb"\x89HDF", "an HDF5 file, as Keras writes it", "convert the weights to PyTorch"),
    (rb".{4}TFL3", "a model for TensorFlow Lite", "use the weights that it was converted from"),
    (
        rb"\x08.{1,40}(pytorch|onnx|tf2onnx|keras2onnx|skl2onnx)",
        "an ONNX model",
        "use the weights it was exported from",
    ),
    (rb"GGUF", "a GGUF file", "use the weights that it was converted from"),
    (rb"\x93NUMPY", "a NumPy array", _SAVE),
    (rb"\x1f\x8b|BZh|7z\xbc\xaf|Rar!|\xfd7zXZ|.{257}ustar", "an archive", "unpack it, and name the file in it"),
)
_MEMBERS = (  # files in a zip archive, as above
    (r"(.*/)?constants\.pkl|(.*/)?code/.*", "a TorchScript module", f"load the original model, and {_SAVE}"),
    (r".*\.npy", "a NumPy archive", _SAVE),
    (r"model\.weights\.h5", "a Keras model", "convert the weights to PyTorch"),
    (r"(.*/)?archive_format|.*models/model\.json", "an exported program", f"load the original model, and {_SAVE}"),
)
# Objects that training scripts save beside the weights. None is created: an empty placeholder takes its place.
_LISTS = r"collections\.deque"
_DICTS = r"collections\.defaultdict|.*\.(AttributeDict|CfgNode|EasyDict|Dict|ConfigDict|Munch|Box)"
_OBJECTS = (
    r"(numpy|datetime|typing|uuid|decimal|zoneinfo|omegaconf|mmengine|mmcv|lightning|lightning_fabric"
    r"|pytorch_lightning|torchmetrics)\..+|pathlib\.\w*Path|argparse\.Namespace|types\.SimpleNamespace"
    r"|builtins\.(bool|dict|float|frozenset|getattr|int|list|object|range|slice|str|tuple)"
)
_KNOWN_TO_TORCH = (
    r"collections\.(OrderedDict|Counter)|_codecs\.encode|builtins\.(set|bytearray|complex)"
    r"|torch(\.(_utils|_tensor|cuda|sparse|storage|serialization|nn\.parameter))*\.\w+"
)


class Ignored:
    """Takes the place of an object in a checkpoint, and ignores its values."""

    def __init__(self, *values: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


class _IgnoredDict:
    def __new__(cls, *values: object) -> "OrderedDict[object, object]":  # type: ignore[misc]
        return OrderedDict()


class _IgnoredList:
    def __new__(cls, *values: object) -> list[object]:  # type: ignore[misc]
        return []


# names in pickles of protocol 2, which torch.save writes
_PYTHON_2 = {"builtins.xrange": "builtins.range", "builtins.long": "builtins.int", "builtins.unicode": "builtins.str"}
_PLACEHOLDERS = ((_LISTS, _IgnoredList), (_DICTS, _IgnoredDict), (_OBJECTS, Ignored))
_lock = threading.Lock()  # torch's list of allowed classes is global


def read(path: Path, device: str) -> Any:
    """Return the content of a checkpoint: a dict of tensors, or dicts and lists that contain them.

    Args:
        path: a safetensors file, or one that torch.save wrote, whatever its suffix.
        device: of the tensors; on ``meta`` they have a shape, and no values.

    Raises:
        BackboneError: there is no such file, it is not a checkpoint, or it contains objects that would execute code.
    """
    if os.path.isdir(path):
        remedy = f"use `backbone: local-dir:{path.name}`" if (path / "config.json").exists() else "name the file in it"
        raise BackboneError(path.name, "a checkpoint file", "it is a folder", remedy)
    if not os.path.isfile(path):
        raise BackboneError("", "a checkpoint", f"{path} does not exist", "relative paths start at the config's folder")
    try:
        _check_kind(path)
        return read_safetensors(path, device) if is_safetensors(path) else _unpickle(path, device)
    except BackboneError:
        raise
    except (SafetensorError, EOFError):
        raise BackboneError(path.name, "a complete checkpoint", "the file is truncated", "copy it again") from None
    except OSError as error:
        got = f"the file cannot be read: {brief(error, line=0)}"
        raise BackboneError(path.name, "a complete checkpoint", got, "copy it again") from None
    except Exception:  # unpickling raises any type, with long messages
        got = "the file holds something else, or is truncated"
        raise BackboneError(path.name, _STATE_DICT, got, f"copy it again, or {_SAVE}") from None


def is_safetensors(path: Path) -> bool:
    """Return whether a file is to be read as safetensors: by its content, else by its suffix."""
    head = _head(path)
    return head[8:9] == b"{" or (path.suffix == ".safetensors" and head[:1] not in (b"\x80", b"P"))


def ignored_classes(path: Path) -> dict[str, type]:
    """Return the classes of objects that `read` ignores in a file, each with its placeholder."""
    names = set() if is_safetensors(path) else _globals_of(path)
    return {name: found for name in names if (found := _placeholder(name))}


def _globals_of(path: Path) -> set[str]:
    """Return the names of all classes and functions that a file of torch.save refers to, without loading it."""
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):  # four pickles in a row, before torch 1.6
            file.seek(0)
            return set().union(*(_globals(file) for _ in range(4)))
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.split("/")[-1] == "data.pkl")
        with archive.open(name) as file:
            return _globals(file)


def _globals(file: Any) -> set[str]:
    found = (argument for opcode, argument, _ in pickletools.genops(file) if opcode.name == "GLOBAL")
    names = {str(argument).replace(" ", ".").replace("__builtin__.", "builtins.") for argument in found}
    return {_PYTHON_2.get(name, name) for name in names}


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(300)


def _check_kind(path: Path) -> None:
    """Raise BackboneError if the file is known to be no checkpoint."""
    head = _head(path)
    if not head:
        raise BackboneError(path.name, "a complete checkpoint", "the file is empty", "copy it again")
    magic = () if head[8:9] == b"{" else _MAGIC  # of safetensors, the length of the header may look like anything
    kinds = [kind for pattern, *kind in magic if re.match(pattern, head, re.DOTALL | re.IGNORECASE)]
    if path.suffix == ".onnx" and not kinds:
        kinds = [["an ONNX model", "use the weights it was exported from"]]
    if head.startswith(b"PK") and not kinds:
        if not zipfile.is_zipfile(path):
            raise BackboneError(path.name, "a complete checkpoint", "the file is truncated", "copy it again")
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        kinds = [kind for pattern, *kind in _MEMBERS if any(re.fullmatch(pattern, name) for name in names)]
        if not kinds and not any(name.split("/")[-1] == "data.pkl" for name in names):
            kinds = [[f"a zip archive with {', '.join(names[:3])}", "unpack it, and name the file in it"]]
    for what, remedy in kinds:
        raise BackboneError(path.name, "a checkpoint, of torch.save or safetensors", f"it is {what}", remedy)


def read_safetensors(path: Path, device: str) -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file; on ``meta`` they have a shape, and no values.

    Raises:
        SafetensorError: it is truncated, or another kind of file.
    """
    with safe_open(path, "pt") as file:
        if device != "meta":
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


def _unpickle(path: Path, device: str) -> Any:
    ignored = ignored_classes(path)
    placeholders: Any = [(found, name) for name, found in ignored.items()]
    try:
        with _lock, torch.serialization.safe_globals(placeholders), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols that torch.save does not write
            with path.open("rb") as file:  # torch.load goes by the suffix of a path
                return torch.load(file, map_location=device, weights_only=True)
    except Exception:
        foreign = sorted(name for name in _globals_of(path) - ignored.keys() if not re.fullmatch(_KNOWN_TO_TORCH, name))
        foreign = foreign or [name for name in ignored if name.endswith(".getattr")]
        if not foreign:
            raise
        modules = [name for name in foreign if name.startswith(("torch.nn.modules.", "torch.fx."))]
        own = [name for name in foreign if name not in modules] or modules
        what = f"a whole pickled module, {own[0]}" if modules else f"an object of {own[0]}"
        got = f"it holds {what}, which may execute code and is not loaded"
        raise BackboneError(path.name, _STATE_DICT, got, _SAVE) from None


def _placeholder(name: str) -> type | None:
    return next((placeholder for pattern, placeholder in _PLACEHOLDERS if re.fullmatch(pattern, name)), None)
