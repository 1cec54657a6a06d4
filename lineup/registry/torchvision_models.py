"""The classification models of torchvision, by name and weights enum."""

import os
from functools import partial
from typing import Any

from torch import nn
from torch.hub import get_dir
from torchvision import models
from torchvision.transforms import InterpolationMode

from lineup.config import Entry
from lineup.errors import BackboneError, did_you_mean
from lineup.hub import files
from lineup.registry import known_weights, wordnet
from lineup.registry.checkpoint import Architecture
from lineup.registry.embedding import Embedding, without_layer
from lineup.registry.known_weights import Candidate
from lineup.registry.labels import LabelSet, from_names
from lineup.registry.meta_device import check_input_size, on_meta_device
from lineup.registry.plan import Context, Plan, Transform, entry_labels, format_call, resolve_labels

# torchvision loads with torch.hub, which by default unpickles a file, and so executes any code in it.
os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"

# As torchvision's README says under "Pre-trained Model License".
_LICENSES = {"https://github.com/facebookresearch/SWAG/blob/main/LICENSE": "CC-BY-NC-4.0 (SWAG)"}
FIXED_SIZE = ("vit", "maxvit")  # accept one input size only


def pretrained(entry: Entry, context: Context) -> Plan:
    """Plan a model with torchvision's weights: ``torchvision/resnet50@IMAGENET1K_V1``."""
    name, chosen = entry.spec.target, _weights(entry)
    if not chosen.meta["categories"]:
        raise BackboneError("", "weights that classify", f"{chosen} give only features", f"choose others of {name}")
    if name.startswith(FIXED_SIZE) and entry.input_size not in (None, chosen.meta["min_size"]):
        raise BackboneError(
            "", f"input_size {chosen.meta['min_size'][0]}, the only one of these weights", f"got {entry.input_size}"
        )
    num_classes, transform = len(chosen.meta["categories"]), _transform(entry, chosen)
    create = partial(models.get_model, name, weights=None, **_create_arguments(name, transform))
    if entry.input_size:
        check_input_size(on_meta_device(create), entry, transform.input_size)
    recipe, file = _recipe(entry, chosen, weights=str(chosen)), files.torch_hub_file(chosen.url, get_dir())
    known = str(transform.steps) == str(chosen.transforms()) and known_weights.verified(file)
    return Plan(
        name=entry.name,
        source=entry.source,
        architecture=f"{name}@{chosen.name}",
        parameters=chosen.meta["num_params"],
        labels=resolve_labels(entry_labels(entry, context), _categories(chosen), num_classes),
        transform=transform,
        weights=file,
        # the downloaded file is where torchvision caches it
        make=lambda path: models.get_model(name, weights=chosen, progress=False),
        license=_license(chosen),
        download_bytes=round(chosen.meta["_file_size"] * 2**20),
        figures=_figures(chosen) if known else {},
        recipe=recipe,
        fingerprint=recipe,
        embedding=Embedding(create, transform.input_size, partial(_features_of, name)),
    )


def architecture(entry: Entry) -> Architecture:
    """Return an architecture of torchvision, for the user's own weights."""
    name, assumed = entry.spec.target, _weights(entry)
    transform = _transform(entry, assumed)
    return Architecture(
        name=name,
        published=f"torchvision/{name}@{assumed.name}",
        num_classes=len(assumed.meta["categories"] or ()),
        head=_head(name),
        transform=transform,
        create=partial(models.get_model, name, weights=None, **_create_arguments(name, transform)),
        recipe=partial(_recipe, entry, assumed, weights=None, **_create_arguments(name, transform)),
        candidates=partial(_candidates, entry, assumed),
        features_of=partial(_features_of, name),
    )


def _weights(entry: Entry) -> Any:
    """Return the weights enum member that an entry names, or the default of the model."""
    name, member = entry.spec.target, entry.spec.revision
    known = models.list_models(module=models)
    if name not in known:
        hint = did_you_mean(name, known) or "torchvision.models.list_models() lists all names"
        raise BackboneError("", "a classification model of torchvision", f"got {name!r}", hint)
    enum = models.get_model_weights(name)
    if member is None:
        return enum.DEFAULT
    if member not in enum.__members__:
        hint = did_you_mean(member.upper(), list(enum.__members__)) or f"it has: {', '.join(enum.__members__)}"
        raise BackboneError("", f"weights of {name}", f"got {member!r}", hint)
    return enum[member]


def _categories(chosen: Any) -> LabelSet:
    # The order of ImageNet-1k's classes is standard, so that the index determines the WordNet id, and the id the name:
    # a class has the same name in both libraries.
    if chosen.name.startswith("IMAGENET1K"):
        return wordnet.imagenet("imagenet-1k")
    return from_names(chosen.meta["categories"], str(chosen))


def _transform(entry: Entry, chosen: Any) -> Transform:
    if entry.input_size and entry.input_size[0] != entry.input_size[1]:
        raise BackboneError("", "a square input_size, as torchvision's transforms are", f"got {entry.input_size}")
    steps = chosen.transforms(**(overrides := _overrides(entry, chosen)))
    if entry.interpolation:
        steps.interpolation = InterpolationMode(entry.interpolation)
    height, width = steps.crop_size * 2  # a list of one element
    fingerprint = repr((chosen, overrides, entry.interpolation))
    return Transform(steps, (height, width), tuple(steps.mean), tuple(steps.std), fingerprint, max(steps.resize_size))


def _overrides(entry: Entry, chosen: Any) -> dict[str, Any]:
    """Return the arguments with which the entry overrides the transform of the weights."""
    overrides: dict[str, Any] = {key: getattr(entry, key) for key in ("mean", "std") if getattr(entry, key)}
    if entry.input_size or entry.crop_pct:
        default = chosen.transforms()
        crop_pct = entry.crop_pct or default.crop_size[0] / default.resize_size[0]
        overrides["crop_size"] = entry.input_size[0] if entry.input_size else default.crop_size[0]
        overrides["resize_size"] = round(overrides["crop_size"] / crop_pct)
    return overrides


def _figures(chosen: Any) -> dict[str, float]:
    accuracy = chosen.meta["_metrics"].get("ImageNet-1K", {})
    figures = {
        "imagenet_top1": accuracy.get("acc@1"),
        "imagenet_top5": accuracy.get("acc@5"),
        "gmacs": chosen.meta["_ops"],
    }
    return {key: figure for key, figure in figures.items() if figure is not None}


def _candidates(entry: Entry, assumed: Any, num_classes: int) -> list[Candidate]:
    """Return the published weights of the model with this number of classes and the assumed transform."""
    transform = str(_transform(entry, assumed).steps)  # sizes, mean, std and interpolation
    return [
        Candidate(f"{entry.spec.target}@{weights.name}", _figures(weights), files.sha256_in_name(weights.url))
        for weights in models.get_model_weights(entry.spec.target)
        if len(weights.meta["categories"] or ()) == num_classes and str(weights.transforms()) == transform
    ]


def _license(chosen: Any) -> str:
    """Return the licence of the weights: torchvision states one for SWAG only; the others get a general remark."""
    stated = chosen.meta.get("license", "")
    return _LICENSES.get(stated, stated) or "training data's terms may apply; code BSD-3-Clause"


def _recipe(entry: Entry, chosen: Any, **arguments: Any) -> str:
    network = format_call("torchvision.models.get_model", entry.spec.target, **arguments)
    transform = format_call(f"torchvision.models.get_weight({str(chosen)!r}).transforms", **_overrides(entry, chosen))
    recipe = f"import torchvision\n\nnetwork = {network}.eval()\ntransform = {transform}\n"
    if entry.interpolation:
        recipe += f"transform.interpolation = torchvision.transforms.InterpolationMode({entry.interpolation!r})\n"
    return recipe


def _create_arguments(name: str, transform: Transform) -> dict[str, Any]:
    """Return the arguments that build the network that the published weights are for."""
    if name.startswith("vit"):
        return {"image_size": transform.input_size[0]}
    if name.startswith("maxvit"):
        return {"input_size": transform.input_size}
    # these two normalise their input again, which torchvision enables only together with their published weights
    return {"transform_input": True} if name in ("googlenet", "inception_v3") else {}


def _head(name: str) -> str:
    """Return the name of the classification layer: the last one with as many outputs as classes."""
    network = on_meta_device(partial(models.get_model, name, weights=None, num_classes=1000))
    return [
        layer
        for layer, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and module.weight.shape[0] == 1000
    ][-1]


def _features_of(name: str, network: nn.Module) -> nn.Module:
    return without_layer(network, _head(name))
