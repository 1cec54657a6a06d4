"""Tiny classifiers of transformers with seeded random weights, saved by `save_pretrained` with their processor."""

from pathlib import Path
from typing import Any

NAMES = ["cat", "dog", "bird"]
_VIT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
_PATCHES = {"image_size": 32, "patch_size": 8}
_SQUARE = {"size": {"height": 32, "width": 32}}
_LARGER = {"size": {"height": 40, "width": 40}}
_EDGE = {"size": {"shortest_edge": 32}}
_CROP = {"crop_size": {"height": 32, "width": 32}}
_STAGES = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
_SWIN = {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 2, "image_size": 32, "patch_size": 4}

# The prefix of the classes of a network, its settings, the processor that its published weights have, and its settings.
KINDS: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "vit": ("ViT", _VIT | _PATCHES, "ViT", _SQUARE),
    "deit": ("DeiT", _VIT | _PATCHES, "DeiT", {**_LARGER, **_CROP}),
    "beit": ("Beit", _VIT | _PATCHES, "Beit", _SQUARE),
    "beit-crop": ("Beit", _VIT | _PATCHES, "Beit", {**_LARGER, **_CROP, "do_center_crop": True}),
    "dinov2": ("Dinov2", _VIT | _PATCHES, "Bit", {"size": {"shortest_edge": 36}, **_CROP}),
    "vit_msn": ("ViTMSN", _VIT | _PATCHES, "ViT", _SQUARE),
    "clip": ("CLIP", {"vision_config": _VIT | _PATCHES, "text_config": _VIT}, "CLIP", _EDGE | _CROP),
    "siglip": ("Siglip", {"vision_config": _VIT | _PATCHES, "text_config": _VIT}, "Siglip", _SQUARE),
    "swin": ("Swin", _SWIN, "ViT", _SQUARE),
    "swinv2": ("Swinv2", _SWIN, "ViT", _SQUARE),
    "resnet": ("ResNet", _STAGES | {"embedding_size": 8, "layer_type": "basic"}, "ConvNext", _EDGE),
    "regnet": ("RegNet", _STAGES | {"embedding_size": 8, "groups_width": 4}, "ConvNext", _EDGE | {"crop_pct": 0.9}),
    "convnext": ("ConvNext", _STAGES, "ConvNext", _EDGE),
    "convnext-384": ("ConvNext", _STAGES, "ConvNext", {"size": {"shortest_edge": 384}}),
    "convnextv2": ("ConvNextV2", _STAGES, "ConvNext", _EDGE),
    "bit": ("Bit", _STAGES | {"embedding_size": 8, "num_groups": 4}, "Bit", _EDGE | _CROP),
    "mobilenet_v1": ("MobileNetV1", {"depth_multiplier": 0.1, "image_size": 32}, "MobileNetV1", _EDGE | _CROP),
    "mobilenet_v2": ("MobileNetV2", {"depth_multiplier": 0.1, "image_size": 32}, "MobileNetV2", _EDGE | _CROP),
    "mobilevit": (
        "MobileViT",
        {"image_size": 32, "hidden_sizes": [16, 16, 16], "neck_hidden_sizes": [8, 8, 8, 16, 16, 16, 16]},
        "MobileViT",
        {"size": {"shortest_edge": 36}, **_CROP},
    ),
    "efficientnet": (
        "EfficientNet",
        {"width_coefficient": 0.1, "depth_coefficient": 0.1, "hidden_dim": 1280 // 10, "image_size": 32},
        "EfficientNet",
        _SQUARE | {"rescale_factor": 1 / 127.5, "rescale_offset": True, "include_top": True},
    ),
    "levit": (
        "Levit",
        {
            "image_size": 32,
            "hidden_sizes": [16, 16, 16],
            "num_attention_heads": [1, 1, 1],
            "depths": [1, 1, 1],
            "key_dim": [4, 4, 4],
        },
        "Levit",
        _EDGE | _CROP,
    ),
    "poolformer": ("PoolFormer", _STAGES, "PoolFormer", _EDGE | _CROP),
    "segformer": (
        "Segformer",
        _STAGES | {"num_attention_heads": [1, 1, 1, 1], "decoder_hidden_size": 16},
        "Segformer",
        _SQUARE,
    ),
    "focalnet": (
        "FocalNet",
        {
            "image_size": 32,
            "embed_dim": 8,
            "depths": [1, 1],
            "hidden_sizes": [8, 16],
            "focal_levels": [1, 1],
            "focal_windows": [3, 3],
        },
        "Bit",
        _EDGE | _CROP,
    ),
    "pvt": (
        "Pvt",
        {"image_size": 32, "hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 1, 1]},
        "Pvt",
        _SQUARE,
    ),
}


def network(kind: str, names: list[str] | int = NAMES, head: str = "ForImageClassification", **settings: Any) -> Any:
    """Return a classifier whose logits differ by image, with these names of classes or this number of placeholders."""
    import torch
    import transformers

    prefix, tiny, _, _ = KINDS[kind]
    count: dict[str, Any] = {"num_labels": names if isinstance(names, int) else len(names)}
    count |= {} if isinstance(names, int) else {"id2label": dict(enumerate(names))}
    config = getattr(transformers, f"{prefix}Config")(**tiny, **count, **settings)
    torch.manual_seed(0)
    made = getattr(transformers, f"{prefix}{head}")(config).eval()
    with torch.no_grad():
        for module in made.modules():
            if isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight)
            if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
                module.momentum = 1.0
        made.train()(pixel_values=torch.rand(8, 3, 32, 32))  # sets the statistics of batch normalization
        made.eval()
    return made


def processor(kind: str, backend: str = "", **settings: Any) -> Any:
    """Return the image processor of a kind of network: torchvision's, or with the backend "Pil" Pillow's."""
    import transformers

    _, _, prefix, tiny = KINDS[kind]
    return getattr(transformers, f"{prefix}ImageProcessor{backend}")(**{**tiny, **settings})


def save(folder: Path, kind: str = "vit", names: list[str] | int = NAMES, **settings: Any) -> Any:
    """Save a classifier and its processor; return the network."""
    made = network(kind, names, **settings)
    made.save_pretrained(folder)
    processor(kind).save_pretrained(folder)
    return made
