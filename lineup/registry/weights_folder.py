"""Chooses the file of weights in a folder: the only one, or the one that its name makes obvious."""

import os
import re
from pathlib import Path, PureWindowsPath

from lineup.errors import BackboneError

PREFERRED = ("model.safetensors", "pytorch_model.bin")  # the names that timm and transformers give to a whole model
_FORMATS = (".safetensors", ".pth", ".pt", ".pth.tar", ".pt.tar", ".bin", ".ckpt")
_OTHER_FORMATS = (".onnx", ".h5", ".keras", ".tflite", ".npz", ".msgpack", ".pkl", ".pb", ".xml", ".engine", ".zip")
# the state of a training run beside the weights, as Trainer and Accelerate save it; OpenVINO's weights; a head
_NO_WEIGHTS = re.compile(
    r"(training_args|optimizer|scheduler|scaler|rng_state|random_states|openvino_|head\.safetensors$)"
)
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.")
_BEST = re.compile(r"((model|checkpoint|ckpt|weights)[-_.])?best\b|((model|checkpoint|ckpt|weights)[-_.])?best[-_]")
_OF_AN_EPOCH = re.compile(r"((model|weights)[-_.])?(checkpoint|ckpt|last|latest|final|epoch|step|iter)")


def choose(folder: Path) -> tuple[Path, tuple[str, ...]]:
    """Return the file of weights in a folder, and a note if there are others.

    Raises:
        BackboneError: there are none, or several of which none is obvious.
    """
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name[0] != ".")
    weights = [name for name in names if name.endswith(_FORMATS) and not _NO_WEIGHTS.match(name)]
    shards = [name for name in weights if _SHARD.search(name)]
    whole = [name for name in weights if name not in shards]
    if chosen := _obvious(whole):
        others = [name for name in weights if name != chosen]
        note = f"the weights are those of {chosen}; not used: {_listed(others)}"
        return folder / chosen, (note,) if others else ()
    if whole:
        raise BackboneError(
            "",
            f"one file of weights in {folder}",
            f"there are {len(whole)}: {_listed(whole)}",
            "keep the one to use, or write its architecture as `backbone` and its path as `checkpoint`",
        )
    if shards:
        raise BackboneError(
            "",
            f"one file of weights in {folder}",
            f"they are split into {len(shards)}: {_listed(shards)}",
            "save them as one: save_pretrained(…, max_shard_size='100GB')",
        )
    raise _without_weights(folder, names)


def no_folder(path: Path, written: str) -> BackboneError:
    """Return the error that a path, as written in the config, is not that of a folder."""
    got, remedy = f"{path} does not exist", "relative paths start at the config's folder"
    if os.path.isfile(path):
        got, remedy = f"{path} is a file", "write its architecture as `backbone`, and the file as `checkpoint`"
    elif PureWindowsPath(written).drive and os.name != "nt":
        got = f"{written} is a path of Windows, which this machine does not run"
        remedy = "copy the folder beside the config, and write its relative path"
    return BackboneError("", "a folder", got, remedy)


def _obvious(names: list[str]) -> str:
    """Return the name of the file to use; empty if that is not certain."""
    if len(names) == 1:
        return names[0]
    for name in PREFERRED:
        if name in names:
            return name
    best = [name for name in names if _BEST.match(name)]
    rest = [name for name in names if name not in best]
    candidates = best if best and all(map(_OF_AN_EPOCH.match, rest)) else names
    formats = [name for name in candidates if name.endswith(".safetensors")]
    stems = {name.removesuffix(".tar").rpartition(".")[0] for name in candidates}
    if len(candidates) == 1:
        return candidates[0]
    return formats[0] if len(stems) == len(formats) == 1 else ""  # the same weights in two formats


def _without_weights(folder: Path, names: list[str]) -> BackboneError:
    nested = [path for path in sorted(folder.glob("*/*")) if path.name.endswith(_FORMATS) and path.is_file()]
    others = [name for name in names if name.endswith(_OTHER_FORMATS)]
    got, remedy = "there are none", "add model.safetensors"
    if nested:
        found = [path.relative_to(folder).as_posix() for path in nested]
        got = f"there are none, but in folders inside it: {_listed(found)}"
        remedy = "move the file to use beside config.json"
        complete = [path.parent.name for path in nested if (path.parent / "config.json").is_file()]
        if complete:
            remedy = f"add the name of the folder to use to `backbone`, such as /{complete[0]}"
    elif others:
        got = f"there are none in a format of PyTorch, only {_listed(others)}"
        remedy = "save them with safetensors.torch.save_file(model.state_dict(), 'model.safetensors')"
    return BackboneError("", f"weights in {folder}", got, remedy)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more
