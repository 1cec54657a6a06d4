"""Reads ImageNet's class lists and WordNet's words out of timm, which carries them."""

import re
from functools import cache

from timm.data import ImageNetInfo, infer_imagenet_subset

from lineup.registry import labels
from lineup.registry.labels import LabelSet, WordNet

# How pretrained tags call the data sets whose classes timm has names for.
_TOKENS = {
    "imagenet-1k": "in1k",
    "imagenet-12k": "in12k",
    "imagenet-22k": "in22k",
    "imagenet-22k-ms": "in22k",
    "imagenet-21k-goog": "in21k",
    "imagenet-21k-miil": "in21k",
}


@cache
def wordnet() -> WordNet:
    """Return WordNet's words for all 21,843 synsets of ImageNet."""
    info = ImageNetInfo("imagenet-21k-goog")
    return WordNet(info._lemmas, info._definitions)


@cache
def imagenet(subset: str) -> LabelSet:
    """Return the labels of one of timm's ImageNet sets, such as ``imagenet-1k``."""
    origin = subset.replace("imagenet", "ImageNet")
    return labels.from_synsets(ImageNetInfo(subset).label_names(), wordnet(), origin)


def for_tag(tag: str, num_classes: int) -> LabelSet | None:
    """Return the ImageNet labels that a pretrained tag names, or None.

    The count alone would call any 1000-class head ImageNet, so the tag has to say so too: the
    last data set in it is the one that the head was trained on (``in22k_ft_in1k`` → in1k).
    """
    subset = infer_imagenet_subset({"num_classes": num_classes})
    named = re.findall(r"in(?:1k|12k|21k|22k)(?![a-z0-9])", tag)
    if subset is None or not named or named[-1] != _TOKENS[subset]:
        return None
    return imagenet(subset)
