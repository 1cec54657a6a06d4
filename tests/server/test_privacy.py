"""What the page, SECURITY.md and the README say of the time for which an image is kept."""

import re

from serving import ROOT
from starlette.applications import Starlette
from starlette.testclient import TestClient

from lineup.formatting import duration
from lineup.page.templates import render
from lineup.server import privacy, uploads

KEPT = duration(uploads.UPLOAD_MAX_AGE_S + uploads.SWEEP_S)


def test_page_says_the_time_of_the_constants(assembled):
    page = assembled("backbones: ['local-dir:nowhere']", [])
    (line,) = [block.value for block in page.demo.blocks.values() if block.elem_id == "kept"]
    text = re.sub(r"<[^>]*>|\s+", " ", line)
    assert f"Images are deleted from this server within {KEPT} of their last use." in " ".join(text.split())
    assert privacy.KEPT_S == uploads.UPLOAD_MAX_AGE_S + uploads.SWEEP_S


def test_line_follows_another_time():
    assert "within 1 hour and 1 minute of their last use." in render("kept.html", kept_s=3660)


def test_durations_are_words():
    words = [duration(seconds) for seconds in (0, 60, 600, 3600, 7200, 15_000)]
    assert words == ["0 minutes", "1 minute", "10 minutes", "1 hour", "2 hours", "4 hours and 10 minutes"]


def test_documents_say_the_same_times():
    text = " ".join((ROOT / "SECURITY.md").read_text(encoding="utf-8").split())
    hours = {4: "four"}[round(uploads.UPLOAD_MAX_AGE_S / 3600)]
    minutes = {10: "ten"}[round(uploads.SWEEP_S / 60)]
    assert (
        f"It is deleted within {KEPT} of its last use: after {hours} hours, by a sweep every {minutes} minutes" in text
    )
    assert f"removed {hours} hours after their last use" in " ".join(
        (ROOT / "README.md").read_text(encoding="utf-8").split()
    )


def test_link_of_the_line_leads_to_the_section():
    (link,) = re.findall('href="([^"]*)"', render("kept.html", kept_s=60))
    name, _, section = link.partition("#")
    answer = TestClient(Starlette(routes=privacy.routes())).get(f"/{name}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    headings = [heading.lower().replace(" ", "-") for heading in re.findall("(?m)^## (.*)$", answer.text)]
    assert section in headings


def test_page_without_the_document_has_no_route_for_it(monkeypatch, tmp_path):
    monkeypatch.setattr(privacy, "DOCUMENT", tmp_path / "none")
    assert privacy.routes() == []
