"""The templates of the page: escaping, missing values, and that a push uploads them."""

import re

import pytest
from jinja2 import UndefinedError

from lineup.features.publish import files
from lineup.page import templates

FOLDER = files.ROOT / "lineup/page/templates"
TEMPLATES = sorted(FOLDER.glob("*.html"))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_no_template_switches_escaping_off(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"""\bsafe\b|\bautoescape\b|<script(?! src="[^"]*"></script>)|\bon\w+=""", text)
    assert not re.search(r"=\s*{[{%]", text), "an attribute without quotes is not protected by escaping"


def test_missing_value_is_an_error():
    with pytest.raises(UndefinedError, match="description"):
        templates.render("header.html", title="Lineup", space="")


def test_push_uploads_the_templates(make_service, tmp_path):
    (tmp_path / "config.yaml").write_text("backbones: [resnet18.a1_in1k]")
    config = make_service("backbones: [resnet18.a1_in1k]").config
    uploaded = files.collect(config, tmp_path / "config.yaml", "")
    assert {path.relative_to(files.ROOT).as_posix() for path in TEMPLATES} <= uploaded.keys()
