"""The class lists of ImageNet and the lemmas of WordNet, as included in timm."""

import re
from dataclasses import replace
from functools import cache

from timm.data import ImageNetInfo, infer_imagenet_subset

from lineup.registry import labels
from lineup.registry.labels import LabelSet, WordNet

# The tokens in pretrained tags of the data sets that timm has class names for.
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
    """Return the lemmas and definitions of all 21,843 synsets of ImageNet."""
    info = ImageNetInfo("imagenet-21k-goog")
    return WordNet(info._lemmas, info._definitions)


@cache
def imagenet(subset: str) -> LabelSet:
    """Return the labels of one of timm's ImageNet sets, such as ``imagenet-1k``."""
    origin = subset.replace("imagenet", "ImageNet")
    return labels.from_synsets(ImageNetInfo(subset).label_names(), wordnet(), origin)


def for_tag(tag: str, num_classes: int) -> LabelSet | None:
    """Return the ImageNet labels that a pretrained tag names, or None.

    The number of classes alone would match any head with 1000 classes, so the tag has to name the data set too: the
    last one in it is the one that the head was trained on (``in22k_ft_in1k`` → in1k).
    """
    subset = infer_imagenet_subset({"num_classes": num_classes})
    named = re.findall(r"in(?:1k|12k|21k|22k)(?![a-z0-9])", tag)
    if subset is None or not named or named[-1] != _TOKENS[subset]:
        return None
    return imagenet(subset)


def resolved(names: LabelSet) -> LabelSet:
    """Return plain names with ImageNet's labels for the classes that have ImageNet's name at its index.

    They are at their index in ImageNet by the first lemma, in nine of ten classes or more; otherwise the names remain.
    """
    subset = infer_imagenet_subset({"num_classes": len(names)})
    if subset is None:
        return names
    pairs = list(zip(names.labels, imagenet(subset).labels, strict=True))
    same = [_first_lemma(own.name) == _first_lemma(known.name) for own, known in pairs]
    if sum(same) < 0.9 * len(same):
        return names
    return replace(names, labels=tuple(known if at else own for at, (own, known) in zip(same, pairs, strict=True)))


def _first_lemma(name: str) -> str:
    return name.partition(",")[0].strip().casefold()
