"""Says why a checkpoint does not fit a network, and what it looks like."""

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isqrt
from typing import Any

from lineup.errors import BackboneError
from lineup.registry.state_dict import Fit, Shapes

SEARCH_S = 2.0  # for another architecture that a checkpoint fits

_STATE_DICT = "save the network's state dict: torch.save(model.state_dict(), …)"
_KINDS = (  # a pattern of keys, what has such keys, and the remedy
    (
        r"(.*\.)?(lora_\w+|hada_\w+|adapter_\w+)\..*",
        "adapters such as LoRA, and not a whole network",
        "merge them into the network before saving it; in PEFT: merge_and_unload()",
    ),
    (
        r"(.*\.)?weight_(orig|mask)",
        "a pruned network",
        "call torch.nn.utils.prune.remove(module, 'weight') for each pruned module, and save it again",
    ),
    (
        r"(.*[._])?(packed_params|zero_point|fake_quant|activation_post_process|qweight|SCB)(\..*)?",
        "a quantized network",
        "save it before it is quantized",
    ),
    (
        r"(.*\.)?(parametrizations\..*|weight_[guv])",
        "a network with parametrizations, such as weight_norm",
        "call torch.nn.utils.parametrize.remove_parametrizations for each of them, and save it again",
    ),
    (
        r"(.*\.)?(rbr_\w+|reparam_conv|conv_kxk|conv_scale|rbr_reparam)\..*",
        "a reparameterizable network, such as RepVGG, in another form",
        "save it in the form in which timm builds it",
    ),
    (
        r"(.*\.)?(embeddings\.(patch_embeddings|cls_token|position_embeddings)|embedder\.embedder"
        r"|encoder\.layers?\.\d+\.(attention|layernorm_before|intermediate)|encoder\.stages\.\d+\.layers)(\..*)?",
        "a network of the transformers library",
        "use its folder or repository with config.json, as `local-dir:` or `hf-hub:`, or the same architecture of timm",
    ),
    (
        r"(.*\.)?(token_embedding\.weight|logit_scale|text_projection|text_model\..*)",
        "a model of images and texts, such as CLIP",
        "save its image encoder with a classification layer",
    ),
    (
        r"(.*\.)?(rpn|roi_heads|bbox_head|rpn_head|decode_head|mask_head|aux_head)\..*",
        "a network for detection or segmentation",
        "use one that classifies whole images",
    ),
    (
        r"model\.\d+\.(conv|cv1|m|linear)\..*",
        "a network of Ultralytics",
        "use an architecture of timm or torchvision",
    ),
    (
        r"1\.\d+\.(weight|bias)",
        "a network with fastai's head, a Sequential of several layers",
        "train one with a single Linear as its head: timm.create_model(…, num_classes=…)",
    ),
)


def explain(
    fit: Fit,
    expected: Shapes,
    content: Any,
    architecture: str,
    heads: Sequence[str],
    input_size: tuple[int, int] | None = None,
    search: Callable[[], tuple[str, int]] = lambda: ("", 0),
) -> BackboneError:
    """Return the error for a checkpoint that does not fit: what is there, what is missing, what it looks like.

    Args:
        fit: the best fit.
        expected: the shapes of the network.
        content: of the checkpoint.
        architecture: its name.
        heads: the names of its classification layers.
        input_size: the height and width for which it was built, if it depends on them.
        search: returns another architecture that the checkpoint fits, or "", and how many were tried.
    """
    needed = f"the {len(expected)} tensors of {architecture} (such as {next(iter(expected))})"
    if not fit.tensors:
        return BackboneError(
            "", "a state dict and nothing else", f"the file holds {_without_tensors(content)}", _STATE_DICT
        )
    got = f"the checkpoint has {_counts(fit)}; its first key is {next(iter(fit.tensors))}"
    for pattern, what, remedy in _KINDS:
        if key := next((key for key in fit.unknown if re.fullmatch(pattern, key)), None):
            return BackboneError("", needed, f"{got}, and {key} is of {what}", remedy)
    special = _of_head(fit, heads) or _of_size(fit, expected, input_size)
    if special:
        return BackboneError("", needed, f"{got}; {special[0]}", special[1])
    name, tried = search()
    remedy = "use the architecture and the input_size that it was trained with"
    also = f"; none of {tried} others that were tried fits" if tried else ""
    return BackboneError("", needed, got, f"it fits `backbone: {name}`" if name else remedy + also)


def first_fitting(candidates: Iterable[tuple[str, Callable[[], bool]]]) -> tuple[str, int]:
    """Return the name of the first candidate that fits, or "", and how many were tried in SEARCH_S seconds."""
    deadline, tried = time.monotonic() + SEARCH_S, 0
    for name, fits in candidates:
        tried += 1
        if fits():
            return name, tried
        if time.monotonic() > deadline:
            break
    return "", tried


def _counts(fit: Fit) -> str:
    kinds = ((fit.missing, "missing"), (fit.unknown, "unknown"), (fit.differing, "of another shape"))
    return ", ".join(f"{len(keys)} {what} (such as {min(keys)})" for keys, what in kinds if keys)


def _without_tensors(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    return f"no tensors, but {', '.join(map(str, list(content)[:5])) or 'nothing at all'}"


def _of_head(fit: Fit, heads: Sequence[str]) -> tuple[str, str] | None:
    """Return what is wrong with the classification layer, and the remedy, if all else fits."""
    statistics = ("running_mean", "running_var")
    if fit.missing and not fit.unknown and not fit.differing and all(key.endswith(statistics) for key in fit.missing):
        return "it has no running statistics of batch normalization", "train with `track_running_stats=True`"
    if fit.differing or not all(key.startswith(tuple(f"{head}." for head in heads)) for key in fit.missing):
        return None
    if not fit.unknown and all(key.endswith(".bias") for key in fit.missing):
        bias = fit.missing[0]
        return f"its head has no bias ({bias})", f"add zeros to the state dict, if that is meant: state[{bias!r}] = …"
    if not fit.unknown:
        return "it has no classification layer", "train one, or use it for features only"
    layers = list(dict.fromkeys(key.rpartition(".")[0] for key in fit.unknown))
    if fit.missing and len(layers) > 1:
        return (
            f"its head has {len(layers)} layers with weights ({', '.join(layers[:3])}), not one",
            "train a network whose head is a single Linear, or add a source for yours, as CONTRIBUTING.md describes",
        )
    return None


def _of_size(fit: Fit, expected: Shapes, input_size: tuple[int, int] | None) -> tuple[str, str] | None:
    """Return the input size that the positional embedding is for, and the remedy, if it alone is of another shape."""
    key = next((key for key in fit.differing if re.search(r"(^|\.)pos_embed(ding)?$", key)), None)
    if key is None or fit.missing or fit.unknown:
        return None
    stored, needed = (fit.shape(key) or (0, 0))[-2], expected[key][-2] or 0
    tokens = needed - isqrt(needed) ** 2  # before those of the patches, such as the class token
    side = isqrt(max(stored - tokens, 0))
    if input_size is None or input_size[0] != input_size[1] or side**2 != stored - tokens:
        return f"{key} is for another input_size", "set `input_size` to that of the training"
    size_px = input_size[0] * side // isqrt(needed)
    return f"{key} is for {size_px} px", f"add `input_size: {size_px}`"
