"""torchvision's classification models, by name and weights enum."""

from functools import partial
from typing import Any

from torch import nn
from torch.hub import get_dir
from torchvision import models
from torchvision.transforms import InterpolationMode

from lineup import weights
from lineup.config import Entry, did_you_mean
from lineup.errors import BackboneError
from lineup.labels import LabelSet, from_names
from lineup.registry import wordnet
from lineup.registry.checkpoint import Architecture, blank
from lineup.registry.plan import Context, Plan, Transform, chosen_labels, given_labels


def published(entry: Entry, context: Context) -> Plan:
    """Plan a model with torchvision's weights: ``torchvision/resnet50@IMAGENET1K_V1``."""
    name, chosen = entry.spec.target, _weights(entry)
    num_classes = len(chosen.meta["categories"])
    return Plan(
        name=entry.name,
        source=entry.source,
        architecture=f"{name}@{chosen.name}",
        parameters=chosen.meta["num_params"],
        labels=chosen_labels(given_labels(entry, context), _categories(chosen), num_classes),
        transform=_transform(entry, chosen),
        weights=weights.torch_hub_file(chosen.url, get_dir()),
        # torchvision finds the fetched file where it would have kept it
        make=lambda path: models.get_model(name, weights=chosen, progress=False, **_size(entry, name)),
        license=chosen.meta.get("license", ""),
        download_bytes=round(chosen.meta["_file_size"] * 2**20),
    )


def architecture(entry: Entry) -> Architecture:
    """Return one of torchvision's architectures, for weights of the user's own."""
    name, assumed = entry.spec.target, _weights(entry)
    return Architecture(
        name=name,
        published=f"torchvision/{name}@{assumed.name}",
        num_classes=len(assumed.meta["categories"]),
        head=_head(name),
        transform=_transform(entry, assumed),
        create=partial(models.get_model, name, weights=None, **_size(entry, name)),
    )


def _weights(entry: Entry) -> Any:
    """Return the weights enum that an entry names, or the model's default one."""
    name, wanted = entry.spec.target, entry.spec.revision
    known = models.list_models(module=models)
    if name not in known:
        hint = did_you_mean(name, known) or "; torchvision.models.list_models() has all names"
        raise BackboneError(f"expected a classification model of torchvision; got {name!r}{hint}")
    enum = models.get_model_weights(name)
    if wanted is None:
        return enum.DEFAULT
    if wanted not in enum.__members__:
        hint = did_you_mean(wanted.upper(), list(enum.__members__)) or f"; it has: {', '.join(enum.__members__)}"
        raise BackboneError(f"expected weights of {name}; got {wanted!r}{hint}")
    return enum[wanted]


def _categories(chosen: Any) -> LabelSet:
    # ImageNet-1k's order is the same everywhere, so the WordNet ids follow from the index, and the
    # names from the ids: a class is called the same whichever library its weights come from.
    if chosen.name.startswith("IMAGENET1K"):
        return wordnet.imagenet("imagenet-1k")
    return from_names(chosen.meta["categories"], str(chosen))


def _transform(entry: Entry, chosen: Any) -> Transform:
    steps = chosen.transforms()
    if entry.input_size or entry.crop_pct:
        crop_pct = entry.crop_pct or min(steps.crop_size) / min(steps.resize_size)
        steps.crop_size = list(entry.input_size or steps.crop_size)
        steps.resize_size = [round(min(steps.crop_size) / crop_pct)]
    steps.mean, steps.std = list(entry.mean or steps.mean), list(entry.std or steps.std)
    if entry.interpolation:
        steps.interpolation = InterpolationMode(entry.interpolation)
    height, width = steps.crop_size * 2 if len(steps.crop_size) == 1 else steps.crop_size
    return Transform(steps, (height, width), tuple(steps.mean), tuple(steps.std))


def _size(entry: Entry, name: str) -> dict[str, Any]:
    """Return what the transformers of fixed size must be told when the entry wants another one."""
    if not entry.input_size or not name.startswith(("vit", "maxvit")):
        return {}
    if name.startswith("maxvit"):
        return {"input_size": entry.input_size}
    return {"image_size": entry.input_size[0]}


def _head(name: str) -> str:
    """Return the name of the layer that gives the classes: the last that has as many outputs."""
    network = blank(partial(models.get_model, name, weights=None, num_classes=1000))
    return [
        layer
        for layer, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and module.weight.shape[0] == 1000
    ][-1]
