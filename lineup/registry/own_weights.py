"""Architectures of timm and torchvision with the user's own weights, or with random weights."""

import re
from collections.abc import Iterable, Iterator
from functools import partial

import timm
from torchvision import models

from lineup.config import Entry
from lineup.errors import BackboneError
from lineup.registry import checkpoint, timm_models, timm_names, torchvision_models
from lineup.registry.architecture import Architecture
from lineup.registry.plan import Context, Plan

# Common architectures, by a pattern of their keys: those that a misfit with such keys most likely belongs to.
_COMMON = {
    r"layer4\.": "resnet18 resnet34 resnet50 resnet101 resnet152 resnet26 resnext50_32x4d wide_resnet50_2 seresnet50",
    r"blocks\.\d+\.attn": "vit_tiny_patch16_224 vit_small_patch16_224 vit_base_patch16_224 vit_large_patch16_224"
    " vit_base_patch32_224 deit_base_distilled_patch16_224 vit_base_patch14_dinov2 vit_small_patch14_dinov2",
    r"encoder_layer_": "torchvision/vit_b_16 torchvision/vit_b_32 torchvision/vit_l_16",
    r"conv_stem\.": "efficientnet_b0 mobilenetv3_large_100 mobilenetv3_small_100 mobilenetv2_100 efficientnet_b1"
    " efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnetv2_rw_s tf_efficientnetv2_s",
    r"conv_dw\.|stages\.\d+\.blocks": "convnext_tiny convnext_small convnext_base convnextv2_tiny regnety_016",
    r"relative_position_bias_table": "swin_tiny_patch4_window7_224 torchvision/swin_t swin_small_patch4_window7_224"
    " swin_base_patch4_window7_224 torchvision/swin_s torchvision/swin_b torchvision/swin_v2_t",
    r"denseblock": "densenet121 torchvision/densenet121 densenet169 densenet201",
    r"features\.\d+\.": "torchvision/mobilenet_v2 torchvision/mobilenet_v3_small torchvision/mobilenet_v3_large"
    " torchvision/vgg16 torchvision/alexnet torchvision/squeezenet1_1 torchvision/efficientnet_b0 torchvision/vgg16_bn"
    " torchvision/convnext_tiny torchvision/efficientnet_v2_s torchvision/vgg19 vgg16 torchvision/efficientnet_b1",
    r"inception|Mixed_": "torchvision/googlenet torchvision/inception_v3 inception_v3",
    r"stage4\.": "torchvision/shufflenet_v2_x1_0 torchvision/shufflenet_v2_x0_5",
}


def plan(entry: Entry, context: Context) -> Plan:
    """Plan an entry with `checkpoint`, or with `pretrained: false`."""
    if entry.spec.source not in ("timm", "torchvision"):
        raise BackboneError(
            "", "an architecture of timm or torchvision with `pretrained: false`", f"got {entry.backbone!r}"
        )

    def architecture_of(entry: Entry) -> Architecture:
        if entry.spec.source == "timm":
            return timm_models.architecture(entry)
        return torchvision_models.architecture(entry, context)

    planned = checkpoint.plan(entry, context, architecture_of, partial(_others, entry))
    notes = timm_names.renamed(entry.spec.target) if entry.spec.source == "timm" else ()
    return planned.with_loading_notes(notes)


def _others(entry: Entry, keys: Iterable[str]) -> Iterator[Entry]:
    """Yield entries of other architectures that a checkpoint with these keys may belong to, likely ones first."""
    name, text = entry.spec.target.partition(".")[0], "\n".join(keys)
    known = [*timm.list_models(), *(f"torchvision/{each}" for each in models.list_models(module=models))]
    same = [each for each in known if each.rpartition("/")[2] == name]
    common = [each for pattern, names in _COMMON.items() if re.search(pattern, text) for each in names.split()]
    family = re.match("[a-z]*", name)
    related = [each for each in known if family and each.rpartition("/")[2].startswith(family[0])]
    related.sort(key=lambda each: len(each.rpartition("/")[2]))  # variants have longer names
    settings = {"input_size": None, "in_chans": None, "model_args": None, "checkpoint": None}
    for backbone in dict.fromkeys((*same, *common, *related)):
        if backbone != entry.backbone:
            yield entry.model_copy(update={**settings, "backbone": backbone})
