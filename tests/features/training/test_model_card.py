"""The model card: any names as they are, the Hub's names of licences, and Python that turns images upright."""

import numpy as np
import pytest
import yaml
from markdown_it import MarkdownIt
from planning import plan

from lineup.analysis.training import Accuracy, TrainedBackbone, TrainingReport
from lineup.config import Entry
from lineup.features.training import card
from lineup.images.image_set import EvaluatedImage, ImageSet

NAMES = ("C #", "a|b", "two\nlines", "<b>bold</b>", "`code`", "*stars*", "[link](x)", "back\\slash", "&amp;")
ENTRY = {"name": "a", "backbone": "test_resnet", "pretrained": False}


def text(name="mine", license_of_weights="mit", classes=NAMES, groups=None, n_tested=None):
    n = len(classes)
    n_tested = n if n_tested is None else n_tested
    images = tuple(EvaluatedImage(f"{i}", f"{i}", label, "", f"{i}") for i, label in enumerate(classes))
    curve = (Accuracy(n_tested, n_tested, n),) * 3
    p = np.eye(n, dtype=np.float32)
    trained = TrainedBackbone("a", "nearest centroid", None, 1.0, 8, p, license=license_of_weights, curve=curve)
    groups = np.arange(n) if groups is None else groups
    report = TrainingReport(ImageSet("x", images), tuple(classes), groups, (), (trained,))
    return card.text(trained, report, Entry.model_validate(ENTRY), plan(ENTRY, output="features"), name, True)


def shown(markdown):
    """Return the kind and the text of each heading, paragraph and cell."""
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown.split("---\n", 2)[2])
    kinds = [token.type.removesuffix("_open") + token.tag * (token.type == "heading_open") for token in tokens]
    return [
        (kinds[at - 1], "".join(part.content for part in token.children))
        for at, token in enumerate(tokens)
        if token.type == "inline" and all(part.type in ("text", "text_special", "softbreak") for part in token.children)
    ]


def test_names_of_classes_are_shown_as_they_are():
    found = shown(text())
    for name in NAMES:
        assert ("td", " ".join(name.split())) in found
    assert len([kind for kind, _ in found if kind == "td"]) == 3 * len(NAMES)
    [few] = [each for _, each in found if each.startswith("Fewer than 10 images: ")]
    assert "<b>bold</b> (1)" in few


def test_card_claims_no_calibration_and_no_interval_that_there_is_not():
    assert "fitted out of fold" in text()
    assert "too narrow" not in text()
    untested = text(groups=np.zeros(len(NAMES), np.int64), n_tested=0)
    assert "not calibrated, since no image could be tested" in untested
    assert "fitted out of fold" not in untested
    assert "count them as independent, and are thus too narrow" in untested


@pytest.mark.parametrize("name", ["C #", "<img src=x>", "a ``` b", "it's\nmine", "Vögel 🐦"])
def test_name_of_the_folder_is_a_heading_and_ends_no_code(name):
    markdown = text(name)
    assert shown(markdown)[0] == ("headingh1", " ".join(name.split()))
    blocks = [token for token in MarkdownIt("commonmark").parse(markdown.split("---\n", 2)[2]) if token.type == "fence"]
    assert [block.info for block in blocks] == ["yaml", "python"]
    assert yaml.safe_load(blocks[0].content)["backbones"] == [{"name": name, "backbone": f"local-dir:{name}"}]
    compile(blocks[1].content, "card", "exec")


@pytest.mark.parametrize(
    ("stated", "license_of_card", "name"),
    [
        ("apache-2.0", "apache-2.0", None),
        ("Apache-2.0", "apache-2.0", None),
        ("dinov3-license", "other", "dinov3-license"),
        ("My own: see below", "other", "my-own-see-below"),
        ("", "other", "license-of-the-base-weights"),
    ],
)
def test_license_is_one_of_the_hubs_or_has_a_name(stated, license_of_card, name):
    data = yaml.safe_load(text(license_of_weights=stated).split("---\n")[1])
    assert (data["license"], data.get("license_name")) == (license_of_card, name)
