"""Transforms of timm, from the settings in a config.json and in an entry."""

from collections.abc import Mapping
from numbers import Real
from typing import Any, get_args

from timm.data import create_transform, resolve_data_config
from timm.data.transforms import MaybeToTensor
from torchvision.transforms import Compose, Grayscale, Normalize

from lineup.config import CropMode, Entry, normalization
from lineup.errors import BackboneError
from lineup.registry.plan import Transform, format_call

_FILTERS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
_MAX_CROP_PCT = 2  # timm's own are up to 1.15; a percentage is more
_MIN_SIDE_PX = 16  # a smaller one is the number of channels, in another order
_WORDS = {"squash": "squashed", "border": "padded"}


def overrides(entry: Entry) -> dict[str, Any]:
    """Return the settings of an entry, without its size; None where it has none.

    With `crop_mode` squash or border, the whole image is used unless the entry has a `crop_pct`.
    """
    return {
        "mean": entry.mean,
        "std": entry.std,
        "crop_pct": entry.crop_pct or (1.0 if entry.crop_mode in _WORDS else None),
        "crop_mode": entry.crop_mode,
        "interpolation": entry.interpolation,
    }


def build(data: Mapping[str, Any]) -> Transform:
    """Return the transform of timm with these settings, as `resolve_data_config` returns them."""
    channels, height, width = data["input_size"]
    steps = [Grayscale()] * (channels == 1) + create_transform(**data).transforms
    ends = isinstance(steps[-2], MaybeToTensor) and isinstance(steps[-1], Normalize)
    return Transform(
        steps=Compose(steps),
        resize=Compose(steps[:-2]) if ends else None,
        input_size=(height, width),
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
        fingerprint=repr(dict(data)),
        # squash resizes both sides to it, border the longer one: no side has more pixels afterwards
        resize_px=int(max(height, width) / data["crop_pct"]),
        resizing=resizing(data["crop_pct"], data["interpolation"], data["crop_mode"]),
        settings=dict(data),
    )


def resizing(crop_pct: float, interpolation: str, crop_mode: str = "center") -> str:
    """Return in words how an image gets the input size: ``center crop 0.875, bicubic``; ``squashed, bicubic``."""
    words = [_WORDS[crop_mode]] if crop_mode in _WORDS else []
    crop = [] if words and crop_pct == 1 else [f"center crop {crop_pct:.4g}"]
    return ", ".join([*words, *crop, interpolation])


def recipe(data: Mapping[str, Any]) -> str:
    """Return the code that creates the same transform."""
    code = format_call("timm.data.create_transform", **data)
    if data["input_size"][0] == 1:
        return f"torchvision.transforms.Compose([torchvision.transforms.Grayscale(), {code}])"
    return code


def checked(cfg: Mapping[str, Any], entry: Entry) -> dict[str, Any]:
    """Return the pretrained config in a config.json, with a mean and a std for each channel.

    timm would ignore or misread invalid settings. Those that the entry overrides do not matter.

    Raises:
        BackboneError: a setting has another type or range than timm expects.
    """
    checked = {key: value for key, value in cfg.items() if value is not None}
    own = {key: value for key, value in overrides(entry).items() if value is not None}
    size = checked.get("input_size", [3, 224, 224])
    if not _numbers(size, 3) or any(value != int(value) for value in size) or min(size[1:]) < _MIN_SIDE_PX:
        raise _invalid("input_size", f"[channels, height, width], with sides from {_MIN_SIDE_PX}", size)
    for key in ("mean", "std"):
        value = checked.get(key)
        numbers = value if isinstance(value, list | tuple) else [value]
        if value is not None and _numbers(numbers, 1):
            checked[key] = tuple(numbers) * size[0]
        elif value is not None and key not in own and not _numbers(value, size[0]) and not _numbers(value, 3):
            raise _invalid(key, "a list of numbers, one per channel", value)
    used = {**checked, **own}
    for key, known in (("crop_mode", get_args(CropMode)), ("interpolation", _FILTERS)):
        if used.get(key) and used[key] not in known:
            raise _invalid(key, f"one of {', '.join(known)}", used[key])
    crop_pct = used.get("crop_pct") or 1
    if not _numbers([crop_pct], 1) or not 0 < crop_pct <= _MAX_CROP_PCT:
        raise _invalid("crop_pct", "a fraction from 0 to 1", crop_pct)
    if problem := normalization.problem(used.get("mean"), used.get("std")):
        got, remedy = problem
        remedy += " into it, or into the entry" if remedy.startswith("write mean") else ""
        raise BackboneError("", f"{normalization.EXPECTED} in config.json", f"got {got}", remedy)
    return {**cfg, **checked}


def _numbers(value: object, count: int) -> bool:
    is_list = isinstance(value, list | tuple) and len(value) == count
    return is_list and all(isinstance(each, Real) and not isinstance(each, bool) for each in value)  # type: ignore[attr-defined]


def _invalid(key: str, expected: str, value: object) -> BackboneError:
    return BackboneError("", f"{key} in config.json: {expected}", f"got {str(value)[:60]}", "fix config.json")


def data_config(entry: Entry, cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the checkpoint's transform, with the overrides of the entry."""
    channels, *size = cfg.get("input_size") or (3, 224, 224)
    changed = entry.input_size or entry.in_chans
    in_size = (entry.in_chans or channels, *(entry.input_size or size)) if changed else None
    said = {"input_size": in_size, **overrides(entry)}
    return resolve_data_config(said, pretrained_cfg=dict(cfg))


def size_of(data: Mapping[str, Any]) -> tuple[int, int]:
    _, height, width = data["input_size"]
    return height, width


def size_arguments(entry: Entry, cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that set the input size of an architecture with a fixed one."""
    return {"img_size": entry.input_size} if entry.input_size and cfg.get("fixed_input_size") else {}
