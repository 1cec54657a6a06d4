"""Folders that `save_pretrained` of transformers wrote: their config.json and their weights, read without the library.

Weights are read as tensors, never unpickled as objects, and a config that names code of its own is refused.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from lineup.errors import BackboneError, brief
from lineup.registry.checkpoint_file import read_safetensors

PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
SHARDED = "model.safetensors.index.json"
TIMM_PREFIX = "timm_model."  # of the tensors that transformers saves of a model of timm

_CLASSIFIER = "ForImageClassification"
_TASKS = {  # what a class does instead, by a part of its name
    "Segmentation": "it segments images",
    "ObjectDetection": "it detects objects",
    "DepthEstimation": "it estimates depth",
    "PreTraining": "it is pretrained, and has no classification head",
    "Masked": "it is pretrained, and has no classification head",
    "MaskedLM": "it is a language model",
    "CausalLM": "it is a language model",
    "ConditionalGeneration": "it generates text",
    "SequenceClassification": "it classifies text",
    "AudioClassification": "it classifies audio",
    "VideoClassification": "it classifies videos",
}
_ONE_FILE = "save it as one file: `model.save_pretrained(folder, max_shard_size='50GB')`"
OTHER_FILES = {  # what a folder has instead of a whole model, and what to do
    SHARDED: _ONE_FILE,
    "pytorch_model.bin.index.json": _ONE_FILE,
    "adapter_model.safetensors": "merge the adapter: `model.merge_and_unload().save_pretrained(folder)`",
    "tf_model.h5": "these are TensorFlow's weights: save PyTorch's with an older transformers, from_tf=True",
    "flax_model.msgpack": "these are Flax's weights: save PyTorch's with an older transformers, from_flax=True",
}


def recognises(folder: Path) -> bool:
    """Return whether config.json is one of transformers; one that names timm's `architecture` is timm's."""
    try:
        config = read_json(folder / "config.json")
    except BackboneError:
        return False
    return isinstance(config.get("model_type"), str) and "architecture" not in config


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file.

    Raises:
        BackboneError: it is no such file.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BackboneError("", f"JSON in {path}", f"got {brief(error, line=0)}", "save it again") from None
    if not isinstance(config, dict):
        raise BackboneError("", f"a JSON object in {path}", f"got a {type(config).__name__}", "save it again")
    return config


def classifier_config(folder: Path) -> dict[str, Any]:
    """Read config.json, which needs no transformers.

    Raises:
        BackboneError: it is of another kind of network, is quantized, or names code of its own.
    """
    config = read_json(folder / "config.json")
    for path in (folder / name for name in ("config.json", *PROCESSOR_FILES)):
        if path.is_file() and "auto_map" in read_json(path):
            got = f"{path.name} has `auto_map`: the model brings its own Python code, which is never run"
            raise BackboneError("", "a model that transformers itself can build", got, "choose another one")
    if "quantization_config" in config:
        got = "config.json has `quantization_config`"
        raise BackboneError("", "weights in float32, float16 or bfloat16", got, "save the model before quantization")
    names, model_type = config.get("architectures") or [""], config["model_type"]
    name = str(names if isinstance(names, str) else names[0])
    if name and _CLASSIFIER not in name:
        task = next((does for part, does in _TASKS.items() if part in name), "")
        task = task or (f"it is {name}, and no ...{_CLASSIFIER}")
        if name.endswith("Model"):
            task = "it returns features, and has no classification head"
        got = f"config.json says {name}: {task}" if name not in task else f"config.json says {task}"
        remedy = f"choose one that was fine-tuned for classification: its config.json says …{_CLASSIFIER}"
        raise BackboneError("", f"an image classifier of transformers ({model_type})", got, remedy)
    return config


def timm_overlay(path: Path | None) -> dict[str, Any]:
    """Return the fields of timm's pretrained config that make it load a file, which timm or transformers saved."""
    names = read_safetensors(path, "meta") if path and path.suffix == ".safetensors" else {}
    if path and names and all(name.startswith(TIMM_PREFIX) for name in names):
        stored = read_safetensors(path, "cpu")
        return {"state_dict": {name.removeprefix(TIMM_PREFIX): stored[name] for name in stored}, "source": ""}
    return {"file": str(path), "source": ""}  # with the source local-dir, timm would choose the file


def require_weights(path: Path) -> None:
    """Raise a BackboneError if a file is empty, one part of several, or holds something else than weights."""
    if path.name == SHARDED:
        raise BackboneError("", "the weights in one file", f"there are several, with {SHARDED}", OTHER_FILES[SHARDED])
    with path.open("rb") as file:
        start = file.read(20).lstrip()
    got, remedy = "", "copy it again, or save the model again"
    if not start:
        got = "the file is empty"
    elif start.startswith(b"version https://git"):
        got, remedy = "the file is a pointer of Git LFS", "get the file: `git lfs pull`"
    elif start.startswith(b"<"):
        got, remedy = "the file is a web page", "download the file itself"
    if got:
        raise BackboneError(path.name, "the weights of a model of transformers", got, remedy)


def tensors(path: Path, with_values: bool = True) -> dict[str, torch.Tensor]:
    """Read a weights file; without values, a tensor takes no memory, and only its shape counts.

    Raises:
        BackboneError: it is damaged, or has other objects.
    """
    require_weights(path)
    device = "cpu" if with_values else "meta"
    try:
        if path.suffix == ".safetensors":
            stored: Any = read_safetensors(path, device)
        else:
            stored = torch.load(path, map_location=device, weights_only=True)
    except (SafetensorError, OSError, EOFError) as error:
        got = "it is cut off, or another kind of file"
        raise BackboneError(path.name, "a complete file of weights", got, "copy it again") from error
    except Exception as error:  # unpickling raises any type, with long messages
        got = "the file holds something else, or is cut off"
        raise BackboneError(path.name, "tensors and nothing else", got, "save the model again") from error
    if not isinstance(stored, dict) or not all(isinstance(each, torch.Tensor) for each in stored.values()):
        raise BackboneError(path.name, "tensors by name", "it has other objects", "save it with `save_pretrained`")
    return stored if with_values else {name: torch.empty(()).expand(each.shape) for name, each in stored.items()}
