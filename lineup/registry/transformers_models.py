"""Image classifiers of transformers: a folder, or a repository, that `save_pretrained` wrote.

transformers is an optional dependency, and takes seconds to import: both wait for the first entry that needs it. It
sends no request here, and runs no code but its own: files come from lineup.hub, a config that names other code is
refused, and weights are read as tensors, never unpickled as objects.
"""

import json
import re
from collections.abc import Mapping
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import RemoteEntryNotFoundError
from torch import nn

from lineup.config import Entry
from lineup.errors import BackboneError, HubError, brief
from lineup.hub import files
from lineup.registry import image_processors, labels, pretrained_folder, weights_folder, wordnet
from lineup.registry.activation import activated
from lineup.registry.embedding import Embedding, without_layers
from lineup.registry.labels import LabelSet
from lineup.registry.meta_device import count_parameters, dry_run, on_meta_device
from lineup.registry.plan import Context, Plan, entry_labels, format_call, resolve_labels

REQUIREMENTS = "requirements-transformers.txt"


def from_folder(entry: Entry, context: Context, folder: Path) -> Plan:
    """Plan a backbone in a folder that `save_pretrained` wrote."""
    config = pretrained_folder.classifier_config(folder)
    if (folder / "adapter_config.json").is_file():
        remedy = pretrained_folder.OTHER_FILES["adapter_model.safetensors"]
        raise BackboneError("", f"a whole model in {folder}", "adapter_config.json says that it is an adapter", remedy)
    found = [name for name in weights_folder.PREFERRED if (folder / name).is_file()]
    if not found:
        other = next((name for name in pretrained_folder.OTHER_FILES if (folder / name).is_file()), "")
        remedy = (
            pretrained_folder.OTHER_FILES.get(other) or "copy it there, or save the model again with `save_pretrained`"
        )
        kind = f"a {config['model_type']} of transformers"
        raise BackboneError("", f"model.safetensors in {folder}", f"{kind} with {other or 'no weights'}", remedy)
    pretrained_folder.require_weights(folder / found[0])
    notes = (f"weights: {found[0]}, not {found[1]}, as transformers chooses",) if len(found) > 1 else ()
    return _plan(entry, context, config, folder, files.LocalFile(folder / found[0]), (entry.spec.target,), notes)


def from_hub(entry: Entry, context: Context, folder: Path, commit: str) -> Plan:
    """Plan a backbone in a Hub repository whose config.json is in the cache's folder of a commit."""
    repo = entry.spec.target
    pretrained_folder.classifier_config(folder)
    try:
        context.fetch(files.HubFile(repo, pretrained_folder.PROCESSOR_FILES, commit))
    except HubError as error:
        if isinstance(error.__cause__, RemoteEntryNotFoundError):
            raise _without_processor(repo) from error
        raise
    file = files.HubFile(repo, (*weights_folder.PREFERRED, pretrained_folder.SHARDED), commit)
    config = pretrained_folder.classifier_config(folder)  # again: the image processor may name code of its own
    return _plan(entry, context, config, folder, file, (repo, commit), ())


def _plan(
    entry: Entry,
    context: Context,
    config: dict[str, Any],
    folder: Path,
    file: files.Weights,
    name: tuple[str, ...],
    notes: tuple[str, ...],
) -> Plan:
    """Plan the classifier in a folder; `name` is what transformers calls it: a path, or a repository and a commit."""
    transformers = _library(name[0])
    of_weights, settings = _labels(config, entry.spec.target), _settings(transformers, config)
    if not any((folder / each).is_file() for each in pretrained_folder.PROCESSOR_FILES):
        raise _without_processor(str(folder))
    load = image_processors.loader(transformers.AutoImageProcessor, folder)
    transform, overrides = image_processors.transform(entry, load)
    create = partial(_create, transformers, settings)
    network: Any = on_meta_device(create)
    num_outputs = _num_outputs(network, transform.input_size)
    if num_outputs != settings.num_labels:  # without a head, these are features
        got = f"config.json says {settings.num_labels}, and the network returns {num_outputs} numbers"
        raise BackboneError("", "one output for each class", got, "choose one with a classification head")
    if isinstance(file, files.LocalFile):
        notes += _load(type(network.network), settings, pretrained_folder.tensors(file.path, with_values=False))[1]
    heads = _heads(network, num_outputs)
    features_of = partial(without_layers, names=list(heads))  # transformers returns the mean of two

    def make(path: Path | None) -> nn.Module:
        assert path is not None
        return _Logits(_load(type(network.network), settings, pretrained_folder.tensors(path))[0])

    planned = Plan(
        name=entry.name,
        source=entry.source,
        architecture=type(network.network).__name__,
        parameters=count_parameters(network),
        labels=resolve_labels(entry_labels(entry, context), of_weights, num_outputs),
        transform=transform,
        weights=file,
        make=make,
        loading_notes=notes,
        recipe=_recipe(name, overrides),
        fingerprint=json.dumps(["transformers", transformers.__version__, config], sort_keys=True),
        head=" and ".join(heads.values()),
        embedding=Embedding(create, transform.input_size, features_of) if heads else None,
        requirements=REQUIREMENTS,
    )
    return activated(planned, entry, num_outputs, config.get("problem_type"))


class _Logits(nn.Module):
    """Returns the logits ``(N, classes)`` of a classifier of transformers for pixels ``(N, 3, H, W)``."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(pixel_values=batch).logits
        return logits


def _library(name: str) -> Any:
    """Import transformers.

    Raises:
        BackboneError: it is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        missing = error.name == "transformers"
        got = "it is not installed" if missing else f"it cannot be imported: {brief(error, line=0)}"
        remedy = f"`pip install -r {REQUIREMENTS}`{_in_timm(name)}"
        raise BackboneError("", "the library transformers, which wrote config.json", got, remedy) from None
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def _in_timm(repo: str) -> str:
    """Return a hint if timm has an architecture of the same name as a repository: google/vit-base-patch16-224."""
    import timm

    def letters(name: str) -> str:
        return re.sub("[^a-z0-9]", "", name.lower())

    known = {letters(name): name for name in timm.list_models() if timm.models.is_model_pretrained(name)}
    name = known.get(letters(repo.rpartition("/")[2]))
    return f"; timm has an architecture of this name, with weights of its own: {name}" if name else ""


def _without_processor(where: str) -> BackboneError:
    return BackboneError(
        "",
        f"preprocessor_config.json in {where}",
        "there is none, so that size and normalization of the input are unknown",
        "save the image processor that the model was trained with beside it: `processor.save_pretrained(…)`",
    )


def _settings(transformers: Any, config: Mapping[str, Any]) -> Any:
    """Return the config object of a classifier."""
    model_type = config["model_type"]
    if model_type not in transformers.CONFIG_MAPPING:
        got = f"{model_type!r} is none in transformers {transformers.__version__}"
        raise BackboneError("", "a known model_type in config.json", got, "a newer version of it may have it")
    try:
        # a PvtConfig has 1000 labels unless it is given their number
        names = config.get("id2label")
        count = {"num_labels": len(names)} if names and isinstance(names, Mapping) else {}
        settings = transformers.CONFIG_MAPPING[model_type].from_dict({**count, **config})
    except Exception as error:  # each config checks its own values
        raise BackboneError("", "a valid config.json", brief(error, line=-1), "save the model again") from error
    if type(settings) not in transformers.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING:
        got = f"transformers has none for {model_type}"
        raise BackboneError("", "an image classifier", got, "choose another model")
    return settings


def _create(transformers: Any, settings: Any) -> _Logits:
    auto = transformers.AutoModelForImageClassification
    try:
        return _Logits(auto.from_config(deepcopy(settings), dtype=torch.float32, trust_remote_code=False))
    except Exception as error:  # such as a library that one kind of network needs
        got = f"transformers cannot build it: {brief(error, line=0)}"
        raise BackboneError("", "the network that config.json describes", got, "choose another model") from error


def _num_outputs(network: nn.Module, size: tuple[int, int]) -> int:
    """Return the number of logits, from a dry run."""
    try:
        shape = tuple(dry_run(network, size).shape)
    except Exception as error:  # the type depends on the network
        height, width = size
        got = f"for {height} × {width} px, as its image processor says, it fails: {brief(error, line=0)}"
        raise BackboneError("", "a network that takes images alone", got, "set `input_size` to its size") from error
    if len(shape) != 2 or not shape[1]:
        raise BackboneError("", "logits of shape (images, classes)", f"the network returns {shape}", "choose another")
    return shape[1]


def _heads(network: _Logits, num_outputs: int) -> dict[str, str]:
    """Return the classification layers by name, with a description: one, or two in a distilled network."""
    base = f"network.{network.network.base_model_prefix}."
    heads = {
        name: f"{name.removeprefix('network.')} ({module.weight.shape[1]} → {num_outputs})"
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and module.out_features == num_outputs and not name.startswith(base)
    }
    return heads if len(heads) <= 2 else {}


def _load(kind: Any, settings: Any, tensors: dict[str, torch.Tensor]) -> tuple[nn.Module, tuple[str, ...]]:
    """Return a network with these weights, in float32, and notes.

    Raises:
        BackboneError: some are missing or of another shape, where transformers would leave random ones.
    """
    options = {"dtype": torch.float32, "local_files_only": True, "output_loading_info": True}
    try:
        network, report = kind.from_pretrained(
            None, config=settings, state_dict=tensors, ignore_mismatched_sizes=True, **options
        )
    except Exception as error:  # some networks convert tensors of older versions
        got = f"transformers cannot load it: {brief(error, line=0)}"
        raise BackboneError("", f"the tensors of {kind.__name__}", got, "save the model again") from error
    missing = sorted(name for name in report["missing_keys"] if not name.endswith("num_batches_tracked"))
    unused = sorted(report["unexpected_keys"])
    differing = sorted(report["mismatched_keys"])
    problems = [f"{name} has the shape {tuple(stored)}, not {tuple(expected)}" for name, stored, expected in differing]
    problems += [f"{len(missing)} are missing (such as {missing[0]})"] if missing else []
    if problems or report["error_msgs"]:
        first = unused and f"; it has {unused[0]} instead" if missing else ""
        got = f"{(problems or report['error_msgs'])[0]}{first or ''}"
        remedy = "use the config.json that the weights were saved with, of a model with a classification head"
        raise BackboneError("", f"the {len(network.state_dict())} tensors of {kind.__name__}", got, remedy)
    return network, (f"not used: {len(unused)} tensors (such as {unused[0]})",) if unused else ()


def _labels(config: Mapping[str, Any], target: str) -> LabelSet | None:
    """Return the labels of id2label; None if there are none but placeholders."""
    names = config.get("id2label")
    if not names or labels.are_placeholders(names):
        return None
    if isinstance(names, Mapping):
        names = {index: str(name) if isinstance(name, int) else name for index, name in names.items()}
    of_weights = labels.from_hub(names, None, wordnet.wordnet(), f"id2label of {target}")
    return wordnet.resolved(of_weights)


def _recipe(name: tuple[str, ...], overrides: Mapping[str, Any]) -> str:
    revision = {"revision": name[1]} if name[1:] else {}
    network = format_call("AutoModelForImageClassification.from_pretrained", name[0], **revision)
    processor = format_call("AutoImageProcessor.from_pretrained", name[0], **revision, **overrides)
    note = "" if revision else "  # a relative path starts at the config's folder"
    return (
        "from transformers import AutoImageProcessor, AutoModelForImageClassification\n\n"
        f"model = {network}.float().eval(){note}\n"
        f"processor = {processor}\n\n\n"
        'def transform(image):\n    return processor(image, return_tensors="pt")["pixel_values"][0]\n\n\n'
        "def network(batch):\n    return model(pixel_values=batch).logits\n\n"
    )
