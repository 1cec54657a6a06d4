"""The classification models of torchvision, by name and weights enum."""

import os
from functools import cache, partial
from pathlib import Path
from typing import Any

from PIL import Image
from torch import nn
from torch.hub import get_dir
from torchvision import models
from torchvision.transforms import Compose, Grayscale, InterpolationMode, functional

from lineup.config import Entry
from lineup.errors import BackboneError, did_you_mean
from lineup.hub import checksums, files
from lineup.registry import known_weights, timm_transform, wordnet
from lineup.registry.activation import activated
from lineup.registry.architecture import Architecture
from lineup.registry.embedding import Embedding, without_layers
from lineup.registry.known_weights import Candidate
from lineup.registry.labels import LabelSet, from_names
from lineup.registry.meta_device import check_input_size, on_meta_device
from lineup.registry.plan import Context, Plan, Transform, entry_labels, format_call, resolve_labels

# torchvision loads with torch.hub, which by default unpickles a file, and so executes any code in it.
os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"

# As torchvision's README says under "Pre-trained Model License".
_LICENSES = {"https://github.com/facebookresearch/SWAG/blob/main/LICENSE": "CC-BY-NC-4.0 (SWAG)"}
FIXED_SIZE = ("vit", "maxvit")  # accept one input size only
# These normalise their input again where `transform_input` is true, as the published weights, and all that are
# fine-tuned from them, require. No checkpoint says it.
RENORMALIZING = ("googlenet", "inception_v3")
_ASSUMED_INPUT = (
    "assumed to be trained with `transform_input=False`, from scratch; if it was fine-tuned from torchvision's weights,"
    " these predictions are wrong, and the entry needs `model_args: {transform_input: true}`"
)


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
    planned = Plan(
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
    return activated(planned, entry, num_classes)


def architecture(entry: Entry, context: Context) -> Architecture:
    """Return an architecture of torchvision, for the user's own weights."""
    name, assumed = entry.spec.target, _weights(entry)
    transform = _transform(entry, assumed)
    arguments = _create_arguments(name, transform)
    notes: tuple[str, ...] = ()
    if name in RENORMALIZING:
        published = not entry.checkpoint or _is_published(context.path(entry.checkpoint), name)
        # auxiliary heads run in training only
        arguments = {"transform_input": published, "aux_logits": False, "init_weights": not entry.checkpoint}
        notes = () if published or "transform_input" in (entry.model_args or {}) else (_ASSUMED_INPUT,)
    arguments |= entry.model_args or {}
    return Architecture(
        name=name,
        published=f"torchvision/{name}@{assumed.name}",
        num_classes=len(assumed.meta["categories"] or ()),
        heads=(_head(name),),
        transform=transform,
        create=partial(_create, name, entry.in_chans or 3, **arguments),
        recipe=partial(_recipe, entry, assumed, weights=None, **arguments),
        candidates=partial(_candidates, entry, assumed),
        features_of=partial(_features_of, name),
        notes=notes,
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
    if _is_of_timm(entry):
        return timm_transform.build(_timm_settings(entry, chosen))
    steps = chosen.transforms(**(overrides := _overrides(entry, chosen)))
    if entry.interpolation:
        steps.interpolation = InterpolationMode(entry.interpolation)
    height, width = steps.crop_size * 2  # a list of one element
    fingerprint = repr((chosen, overrides, entry.interpolation))
    mean, std, resize_px = tuple(steps.mean), tuple(steps.std), max(steps.resize_size)
    resizing = timm_transform.resizing(height / steps.resize_size[0], steps.interpolation.value)
    resize: Any = partial(_resized, steps)
    if entry.in_chans == 1:
        steps, resize = Compose([Grayscale(), steps]), Compose([Grayscale(), resize])
    return Transform(steps, (height, width), mean, std, fingerprint, resize_px, resizing, resize=resize)


def _resized(steps: Any, image: Image.Image) -> Image.Image:
    """Return the part of an image that torchvision's transform then converts to a tensor and normalises."""
    resized = functional.resize(image, steps.resize_size, interpolation=steps.interpolation, antialias=steps.antialias)
    return functional.center_crop(resized, steps.crop_size)


def _is_of_timm(entry: Entry) -> bool:
    """Return whether an entry needs a transform of timm: torchvision's crop a square from the center."""
    is_square = not entry.input_size or entry.input_size[0] == entry.input_size[1]
    return not is_square or entry.crop_mode in ("squash", "border")


def _timm_settings(entry: Entry, chosen: Any) -> dict[str, Any]:
    """Return the settings of timm's transform that has those of torchvision's, and of the entry."""
    default = chosen.transforms()
    side_px, resize_px = default.crop_size[0], default.resize_size[0]
    own = {key: value for key, value in timm_transform.overrides(entry).items() if value is not None}
    return {
        "input_size": (entry.in_chans or 3, *(entry.input_size or (side_px, side_px))),
        "mean": tuple(default.mean),
        "std": tuple(default.std),
        "crop_pct": side_px / resize_px,
        "crop_mode": "center",
        "interpolation": default.interpolation.value,
        **own,
    }


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
    of_timm, imports = _is_of_timm(entry), "import torchvision\n"
    transform = format_call(f"torchvision.models.get_weight({str(chosen)!r}).transforms", **_overrides(entry, chosen))
    if of_timm:
        imports, transform = f"import timm\n{imports}", timm_transform.recipe(_timm_settings(entry, chosen))
    recipe = f"{imports}\nnetwork = {network}.eval()\ntransform = {transform}\n"
    if entry.interpolation and not of_timm:
        recipe += f"transform.interpolation = torchvision.transforms.InterpolationMode({entry.interpolation!r})\n"
    if entry.in_chans == 1:
        grayscale = on_meta_device(partial(_create, entry.spec.target, 1, **arguments))
        first, layer = _first_layer(grayscale)
        recipe += f"network.set_submodule({first!r}, torch.nn.{layer})\n"
        if not of_timm:
            recipe += "transform = torchvision.transforms.Compose([torchvision.transforms.Grayscale(), transform])\n"
    return recipe


def _create_arguments(name: str, transform: Transform) -> dict[str, Any]:
    """Return the arguments that build the network that the published weights are for."""
    if name.startswith("vit"):
        return {"image_size": transform.input_size[0]}
    if name.startswith("maxvit"):
        return {"input_size": transform.input_size}
    return {"transform_input": True} if name in RENORMALIZING else {}


def _is_published(path: Path, name: str) -> bool:
    """Return whether a file has the published weights of a model."""
    hashes = tuple(filter(None, (files.sha256_in_name(weights.url) for weights in models.get_model_weights(name))))
    return path.is_file() and checksums.sha256(path).startswith(hashes)


def _create(name: str, in_chans: int, **arguments: Any) -> nn.Module:
    """Build a model without weights, whose first layer takes this number of channels."""
    network: nn.Module = models.get_model(name, **{"weights": None, **arguments})
    if in_chans != 3:
        first, old = _first_layer(network)
        sizes: Any = (old.kernel_size, old.stride, old.padding, old.dilation, old.groups, old.bias is not None)
        network.set_submodule(first, nn.Conv2d(in_chans, old.out_channels, *sizes))
    return network


def _first_layer(network: nn.Module) -> tuple[str, nn.Conv2d]:
    return next((name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d))


@cache
def _head(name: str) -> str:
    """Return the name of the classification layer: the last one with as many outputs as classes."""
    arguments = {"init_weights": False} if name in RENORMALIZING else {}
    network = on_meta_device(partial(models.get_model, name, weights=None, num_classes=1000, **arguments))
    return [
        layer
        for layer, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and module.weight.shape[0] == 1000
    ][-1]


def _features_of(name: str, network: nn.Module) -> nn.Module:
    return without_layers(network, [_head(name)])
