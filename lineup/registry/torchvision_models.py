"""torchvision's classification models, by name and weights enum."""

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
from lineup.registry.checkpoint import Architecture, blank, dry_run
from lineup.registry.known_weights import Candidate
from lineup.registry.labels import LabelSet, from_names
from lineup.registry.plan import Context, Plan, Transform, chosen_labels, given_labels, spell

# torchvision loads through torch.hub, which would run whatever code a pickled file holds.
os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"

# As torchvision's README says under "Pre-trained Model License".
_LICENSES = {"https://github.com/facebookresearch/SWAG/blob/main/LICENSE": "CC-BY-NC-4.0 (SWAG)"}
FIXED = ("vit", "maxvit")  # these take images of one size only


def pretrained(entry: Entry, context: Context) -> Plan:
    """Plan a model with torchvision's weights: ``torchvision/resnet50@IMAGENET1K_V1``."""
    name, chosen = entry.spec.target, _weights(entry)
    if not chosen.meta["categories"]:
        raise BackboneError("", "weights that classify", f"{chosen} give only features", f"choose others of {name}")
    if name.startswith(FIXED) and entry.input_size not in (None, chosen.meta["min_size"]):
        raise BackboneError(
            "", f"input_size {chosen.meta['min_size'][0]}, the only one of these weights", f"got {entry.input_size}"
        )
    num_classes, transform = len(chosen.meta["categories"]), _transform(entry, chosen)
    if entry.input_size:
        dry_run(blank(partial(models.get_model, name, weights=None, **_arguments(name, transform))), entry, transform)
    recipe, file = _recipe(entry, chosen, weights=str(chosen)), files.torch_hub_file(chosen.url, get_dir())
    known = str(transform.steps) == str(chosen.transforms()) and known_weights.verified(file)
    return Plan(
        name=entry.name,
        source=entry.source,
        architecture=f"{name}@{chosen.name}",
        parameters=chosen.meta["num_params"],
        labels=chosen_labels(given_labels(entry, context), _categories(chosen), num_classes),
        transform=transform,
        weights=file,
        # torchvision finds the fetched file where it would have kept it
        make=lambda path: models.get_model(name, weights=chosen, progress=False),
        license=_license(chosen),
        download_bytes=round(chosen.meta["_file_size"] * 2**20),
        facts=_facts(chosen) if known else {},
        recipe=recipe,
        fingerprint=recipe,
    )


def architecture(entry: Entry) -> Architecture:
    """Return one of torchvision's architectures, for weights of the user's own."""
    name, assumed = entry.spec.target, _weights(entry)
    transform = _transform(entry, assumed)
    return Architecture(
        name=name,
        published=f"torchvision/{name}@{assumed.name}",
        num_classes=len(assumed.meta["categories"] or ()),
        head=_head(name),
        transform=transform,
        create=partial(models.get_model, name, weights=None, **_arguments(name, transform)),
        recipe=partial(_recipe, entry, assumed, weights=None, **_arguments(name, transform)),
        candidates=partial(_candidates, entry, assumed),
    )


def _weights(entry: Entry) -> Any:
    """Return the weights enum that an entry names, or the model's default one."""
    name, wanted = entry.spec.target, entry.spec.revision
    known = models.list_models(module=models)
    if name not in known:
        hint = did_you_mean(name, known) or "torchvision.models.list_models() has all names"
        raise BackboneError("", "a classification model of torchvision", f"got {name!r}", hint)
    enum = models.get_model_weights(name)
    if wanted is None:
        return enum.DEFAULT
    if wanted not in enum.__members__:
        hint = did_you_mean(wanted.upper(), list(enum.__members__)) or f"it has: {', '.join(enum.__members__)}"
        raise BackboneError("", f"weights of {name}", f"got {wanted!r}", hint)
    return enum[wanted]


def _categories(chosen: Any) -> LabelSet:
    # ImageNet-1k's order is the same everywhere, so the WordNet ids follow from the index, and the
    # names from the ids: a class is called the same whichever library its weights come from.
    if chosen.name.startswith("IMAGENET1K"):
        return wordnet.imagenet("imagenet-1k")
    return from_names(chosen.meta["categories"], str(chosen))


def _transform(entry: Entry, chosen: Any) -> Transform:
    if entry.input_size and entry.input_size[0] != entry.input_size[1]:
        raise BackboneError("", "a square input_size, as torchvision's transforms are", f"got {entry.input_size}")
    steps = chosen.transforms(**(changes := _changes(entry, chosen)))
    if entry.interpolation:
        steps.interpolation = InterpolationMode(entry.interpolation)
    height, width = steps.crop_size * 2  # it is a list of one
    fingerprint = repr((chosen, changes, entry.interpolation))
    return Transform(steps, (height, width), tuple(steps.mean), tuple(steps.std), fingerprint, max(steps.resize_size))


def _changes(entry: Entry, chosen: Any) -> dict[str, Any]:
    """Return what the entry says instead of the weights' own transform, as that one's arguments."""
    changes: dict[str, Any] = {key: getattr(entry, key) for key in ("mean", "std") if getattr(entry, key)}
    if entry.input_size or entry.crop_pct:
        usual = chosen.transforms()
        crop_pct = entry.crop_pct or usual.crop_size[0] / usual.resize_size[0]
        changes["crop_size"] = entry.input_size[0] if entry.input_size else usual.crop_size[0]
        changes["resize_size"] = round(changes["crop_size"] / crop_pct)
    return changes


def _facts(chosen: Any) -> dict[str, float]:
    accuracy = chosen.meta["_metrics"].get("ImageNet-1K", {})
    found = {
        "imagenet_top1": accuracy.get("acc@1"),
        "imagenet_top5": accuracy.get("acc@5"),
        "gmacs": chosen.meta["_ops"],
    }
    return {key: figure for key, figure in found.items() if figure is not None}


def _candidates(entry: Entry, assumed: Any, num_classes: int) -> list[Candidate]:
    """Return the model's published weights that have as many classes, and the transform that is assumed."""
    transform = str(_transform(entry, assumed).steps)  # sizes, mean, std and interpolation
    return [
        Candidate(f"{entry.spec.target}@{each.name}", _facts(each), files.sha256_in_name(each.url))
        for each in models.get_model_weights(entry.spec.target)
        if len(each.meta["categories"] or ()) == num_classes and str(each.transforms()) == transform
    ]


def _license(chosen: Any) -> str:
    """Return what torchvision states of its weights' licence: that of SWAG's, and of all others no more than this."""
    stated = chosen.meta.get("license", "")
    return _LICENSES.get(stated, stated) or "training data's terms may apply; code BSD-3-Clause"


def _recipe(entry: Entry, chosen: Any, **arguments: Any) -> str:
    network = spell("torchvision.models.get_model", entry.spec.target, **arguments)
    transform = spell(f"torchvision.models.get_weight({str(chosen)!r}).transforms", **_changes(entry, chosen))
    recipe = f"import torchvision\n\nnetwork = {network}.eval()\ntransform = {transform}\n"
    if entry.interpolation:
        recipe += f"transform.interpolation = torchvision.transforms.InterpolationMode({entry.interpolation!r})\n"
    return recipe


def _arguments(name: str, transform: Transform) -> dict[str, Any]:
    """Return what a network must be told to be the one that its published weights are for."""
    if name.startswith("vit"):
        return {"image_size": transform.input_size[0]}
    if name.startswith("maxvit"):
        return {"input_size": transform.input_size}
    # these two normalise a second time, and only their own weights make torchvision say so
    return {"transform_input": True} if name in ("googlenet", "inception_v3") else {}


def _head(name: str) -> str:
    """Return the name of the layer that gives the classes: the last that has as many outputs."""
    network = blank(partial(models.get_model, name, weights=None, num_classes=1000))
    return [
        layer
        for layer, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and module.weight.shape[0] == 1000
    ][-1]
