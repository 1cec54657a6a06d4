"""The preprocessing of transformers: its image processor, with the overrides of an entry.

The processor itself computes the input, so that it is exactly transformers' own. What a page shows of it follows from
how the processor answers: the shapes it returns for images of different shapes, and the values for plain colours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from lineup.config import Entry
from lineup.errors import BackboneError, brief
from lineup.registry.plan import TRANSFORM_KEYS, Transform
from lineup.registry.pretrained_folder import PROCESSOR_FILES

if TYPE_CHECKING:
    import torch

_SMALLEST_CROP_PCT = 0.875  # of the processors that have a ratio built in, such as LeViT's 224/256
# They resize by a rule of their own, from `shortest_edge` alone.
_OWN_RULE = ("ConvNextImageProcessor", "LevitImageProcessor", "PoolFormerImageProcessor")
_CONVNEXT_SQUASHES_FROM_PX = 384


@dataclass(frozen=True)
class ProcessorTransform(Transform):
    """The preprocessing of an image processor.

    Attributes:
        rgb: the channels of its output that are red, green and blue; None if colours cannot be restored from it.
    """

    rgb: tuple[int, ...] | None = (0, 1, 2)

    def as_image(self, batch: np.ndarray) -> Image.Image | None:
        return super().as_image(batch[:, self.rgb]) if self.rgb else None


def transform(entry: Entry, load: "partial[Any]") -> tuple[ProcessorTransform, dict[str, Any]]:
    """Return the preprocessing of an entry, and the arguments that override the processor's own settings.

    Args:
        entry: the entry, whose `input_size`, `mean`, `std`, `crop_pct`, `crop_mode` and `interpolation` count.
        load: builds the image processor, given settings to override.

    Raises:
        BackboneError: transformers cannot build the processor, its output is not one RGB image of a fixed size, or it
            has no setting for a key of the entry.
    """
    processor, changes = _built(load), {}
    if any(getattr(entry, key) for key in TRANSFORM_KEYS):
        changes = _overrides(entry, processor)
        processor = _built(partial(load, **changes))
    steps = partial(_pixels, processor)
    size = _size(steps)
    cropped = changes.get("crop_size") or dict(zip(("height", "width"), entry.input_size or size, strict=True))
    if tuple(cropped.values()) != size:
        key = "input_size" if entry.input_size else "crop_pct" if entry.crop_pct else "crop_mode"
        raise _without(key, f"an input of {list(size)}", cropped, processor)
    channels, mean, std = _colours(steps, size)
    for key, asked, effective in (("mean", entry.mean, mean), ("std", entry.std, std)):
        if asked and not np.allclose(asked, effective, atol=1e-3):  # some have no normalization, or other units
            raise _without(key, f"a {key} of {list(effective)}", list(asked), processor)
    fingerprint = repr((type(processor).__name__, sorted(processor.to_dict().items(), key=str)))
    resizing = f"resized by {type(processor).__name__}"
    parts = steps, size, mean, std, fingerprint, _resize_px(processor), resizing
    return ProcessorTransform(*parts, rgb=channels), changes


def _built(load: "partial[Any]") -> Any:
    try:
        return load()
    except Exception as error:  # the type depends on the processor
        got = f"transformers cannot build it: {brief(error, line=0)}"
        raise BackboneError(PROCESSOR_FILES[0], "the settings of an image processor", got, "save it again") from error


def _pixels(processor: Any, image: Image.Image) -> "torch.Tensor":
    """Return the input ``(3, H, W)`` float32 for an image."""
    pixels: torch.Tensor = processor(image, return_tensors="pt")["pixel_values"][0]
    return pixels.float()


def _size(steps: "partial[torch.Tensor]") -> tuple[int, int]:
    """Return the height and width of the output, which must be the same for images of every shape."""
    try:
        shapes = [tuple(steps(Image.new("RGB", size)).shape) for size in ((640, 480), (480, 640), (60, 50))]
    except Exception as error:
        got = f"its image processor fails: {brief(error, line=0)}"
        raise BackboneError("", "an image as the only input", got, "choose another one") from error
    if len(set(shapes)) > 1:
        remedy = "add `input_size`, and `crop_mode: squash` or `center`, as in training"
        got = f"its image processor returns {shapes[0]} for one image, and {next(s for s in shapes if s != shapes[0])}"
        raise BackboneError("", "an input of a fixed size", f"{got} for another", remedy)
    if len(shapes[0]) != 3 or shapes[0][0] != 3:
        got = f"its image processor returns the shape {shapes[0]}"
        raise BackboneError("", "an input of shape (3, height, width)", got, "choose another one")
    return shapes[0][1:]


def _colours(
    steps: "partial[torch.Tensor]", size: tuple[int, int]
) -> tuple[tuple[int, ...] | None, tuple[float, ...], tuple[float, ...]]:
    """Return the channels of red, green and blue in the output, and the mean and std that its values mean."""
    height, width = size

    def value(*rgb: int) -> np.ndarray:
        return steps(Image.new("RGB", (width, height), rgb))[:, height // 2, width // 2].numpy()  # its padding has none

    black, gray = value(0, 0, 0), value(128, 128, 128)
    response = np.stack([value(255, 0, 0), value(0, 255, 0), value(0, 0, 255)]) - black  # input × output channel
    channels = np.abs(response).argmax(axis=1)
    scale = response[range(3), channels]
    others = response.copy()
    others[range(3), channels] = 0
    if sorted(channels) == [0, 1, 2] and np.abs(others).max() < 1e-4 * np.abs(scale).min():
        mean, std = -black[channels] / scale, 1 / scale
        if np.allclose(gray[channels] * std + mean, 128 / 255, atol=1e-3):
            return tuple(map(int, channels)), _rounded(mean), _rounded(std)
    return None, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(value), 5) + 0.0 for value in values)  # no -0.0


def _resize_px(processor: Any) -> int:
    """Return a length that is not below what the shorter side is resized to; 0 if it is not resized."""
    sizes = _stated(processor.size).values()
    if not processor.do_resize or not sizes:
        return 0
    return int(max(sizes) / min(getattr(processor, "crop_pct", None) or 1, _SMALLEST_CROP_PCT))


def _stated(size: Mapping[str, int | None] | None) -> dict[str, int]:
    return {key: value for key, value in dict(size or {}).items() if value}


def _overrides(entry: Entry, processor: Any) -> dict[str, Any]:
    """Return the settings that the keys of an entry mean for a processor."""
    changes: dict[str, Any] = {}
    if entry.interpolation:
        changes["resample"] = int(Image.Resampling[entry.interpolation.upper()])
    if entry.mean or entry.std:
        mean, std = (processor.image_mean, processor.image_std) if processor.do_normalize else ((0, 0, 0), (1, 1, 1))
        changes |= {"do_normalize": True, "image_mean": list(entry.mean or mean), "image_std": list(entry.std or std)}
    if entry.input_size or entry.crop_pct or entry.crop_mode:
        name = type(processor).__name__.removesuffix("Pil")
        changes |= (_of_own_rule if name in _OWN_RULE else _geometry)(entry, processor)
    return changes


def _geometry(entry: Entry, processor: Any) -> dict[str, Any]:
    """Return the settings of a processor that resizes to a size, and then may cut out the centre."""
    size, crop = _stated(processor.size), _stated(processor.crop_size) if processor.do_center_crop else {}
    mode, crop_pct = "center" if "shortest_edge" in size else "squash", 1.0
    target = entry.input_size or tuple((crop or size).get(side, 0) for side in ("height", "width"))
    if crop and (size.keys() & {"height", "shortest_edge"}):
        before = min(crop.values()) if mode == "center" else crop["height"]
        crop_pct = before / size["shortest_edge" if mode == "center" else "height"]
    mode, crop_pct = entry.crop_mode or mode, entry.crop_pct or crop_pct
    height, width = target
    if mode == "border" or not height or not width:
        raise _without("crop_mode" if mode == "border" else "input_size", "center or squash", mode, processor)
    if mode == "center" and height != width:
        raise BackboneError("", "a square input_size with `crop_mode: center`", f"got {list(target)}", "fix it")
    resized = {"height": int(height / crop_pct), "width": int(width / crop_pct)}
    return {
        "size": resized if mode == "squash" else {"shortest_edge": resized["height"]},
        "do_center_crop": True,
        "crop_size": {"height": height, "width": width},
    }


def _of_own_rule(entry: Entry, processor: Any) -> dict[str, Any]:
    """Return the settings of a processor that derives everything from `shortest_edge`, and from `crop_pct` if any."""
    before, crop_pct = _stated(processor.size).get("shortest_edge"), getattr(processor, "crop_pct", None)
    height, width = entry.input_size or (before or 0, before or 0)
    if height != width or not before:
        raise _without("input_size", "a square input_size", entry.input_size, processor)
    squashes = "ConvNext" in type(processor).__name__ and height >= _CONVNEXT_SQUASHES_FROM_PX
    if entry.crop_mode not in (None, "squash" if squashes else "center"):
        raise _without("crop_mode", "squash" if squashes else "center", entry.crop_mode, processor)
    changes: dict[str, Any] = {"size": {"shortest_edge": height}}
    if processor.do_center_crop:
        changes["crop_size"] = {"height": height, "width": width}
    if entry.crop_pct:
        if crop_pct is None or (squashes and entry.crop_pct != 1):
            raise _without("crop_pct", "its own crop_pct" if crop_pct is None else "1", entry.crop_pct, processor)
        changes["crop_pct"] = entry.crop_pct
    return changes


def _without(key: str, expected: str, got: object, processor: Any) -> BackboneError:
    name = type(processor).__name__
    return BackboneError(key, f"{expected}, which {name} has", f"got {got}", "leave it out, or change the processor's")


def loader(auto: Any, folder: Path) -> "partial[Any]":
    """Return what builds the image processor in a folder, without a request and without code of its own."""
    return partial(auto.from_pretrained, str(folder), local_files_only=True, trust_remote_code=False)
