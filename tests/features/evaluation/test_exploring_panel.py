"""What there is to look at in an evaluation: thumbnails, images, labels that are kept, calibration, and the plot."""

import asyncio
import json
import re
from types import SimpleNamespace

import gradio as gr
import pytest
from drawing import draw
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from lineup.analysis import labelling as analysis
from lineup.errors import LineupError
from lineup.features.evaluation import gallery, labelling, reading
from lineup.features.evaluation.exploring_panel import ExploringSection
from lineup.features.evaluation.handlers import PageState
from lineup.features.evaluation.run import Evaluations
from lineup.images import image_set
from lineup.page.thumbnails import SIDE_PX, ThumbnailRoute


@pytest.fixture
def ran(make_service, fakes, tmp_path, monkeypatch):
    """Return a function that evaluates images in folders of the labels given."""
    monkeypatch.setenv("LINEUP_CACHE", str(tmp_path / "cache"))
    fakes.logits |= {"a": [3.0, 1.0, 0.0], "b": [0.0, 3.0, 1.0]}

    def run(*labels):
        for index, label in enumerate(labels):
            path = tmp_path / "images" / label / f"{index}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            draw(path, seed=index)
        evaluations = Evaluations(make_service("backbones: ['fake:a', 'fake:b']"))
        evaluation = evaluations.create(image_set.collect(tmp_path / "images"), ["fake:a", "fake:b"])
        evaluations.run(evaluation)
        report = reading.report(evaluations, evaluation)
        return SimpleNamespace(
            evaluations=evaluations, id=evaluation, report=report, folder=evaluations.folder(evaluation)
        )

    return run


def client(evaluation):
    return TestClient(Starlette(routes=[ThumbnailRoute("/evaluation", evaluation.evaluations.folder, 40)]))


def test_thumbnail_is_small_and_kept(ran, tmp_path):
    evaluation = ran("cat")
    path = tmp_path / "images" / "cat" / "0.jpg"
    Image.effect_noise((1600, 900), 90).convert("RGB").save(path, comment=b"secret")
    answer = client(evaluation).get(f"/evaluation/{evaluation.id}/thumbnail/0")
    assert answer.headers["content-type"] == "image/jpeg"
    assert b"secret" not in answer.content
    [kept] = (evaluation.folder / "thumbnails").iterdir()
    with Image.open(kept) as image:
        assert max(image.size) == SIDE_PX
    path.unlink()
    assert client(evaluation).get(f"/evaluation/{evaluation.id}/thumbnail/0").content == answer.content


@pytest.mark.parametrize(
    "address", ["{id}/thumbnail/1", "aaaaaaaaaaaaaaaa/thumbnail/0", "{id}/thumbnail/-1", "..%2f/thumbnail/0"]
)
def test_thumbnail_that_does_not_exist_is_404(ran, address):
    evaluation = ran("cat")
    assert client(evaluation).get("/evaluation/" + address.format(id=evaluation.id)).status_code == 404


def test_image_that_cannot_be_read_is_404_with_a_sentence(ran, tmp_path):
    evaluation = ran("cat")
    (tmp_path / "images" / "cat" / "0.jpg").write_bytes(b"no image")
    answer = client(evaluation).get(f"/evaluation/{evaluation.id}/thumbnail/0")
    assert answer.status_code == 404
    assert "expected an image" in answer.json()["detail"]


def test_every_answer_says_right_or_wrong_in_words(ran):
    report = ran("cat", "dog").report
    html = gallery.shots(report, "ID", [0, 1], 24, "All images")
    assert re.findall(r"lu-hidden\">(\w+): ", html) == ["Right", "Wrong", "Wrong", "Right"]
    assert 'src="evaluation/ID/thumbnail/1"' in html
    assert html.count('alt="') == html.count("<img") == 2


def test_only_the_first_images_are_shown(ran):
    report = ran("cat", "dog", "cat").report
    html = gallery.shots(report, "ID", [0, 1, 2], 2, "All images")
    assert html.count("<img") == 2
    assert "3 images, the first 2 of them" in html


def test_images_without_scored_labels_have_neither_mark(ran):
    assert "lu-mark" not in gallery.shots(ran("zzz", "zzzz").report, "ID", [0, 1], 24, "All images")


def test_external_text_is_escaped(ran, tmp_path):
    report = ran("cat&<b>", "dog").report
    html = gallery.shots(report, "ID", [0, 1], 24, "All images") + gallery.confusion(report, "nope")
    assert "<b>" not in re.sub(r"<b>\d", "", html)


def test_confusion_counts_and_offers_its_images(ran):
    html = gallery.confusion(ran("cat", "dog", "cat").report, "fake:b")
    assert "fake:b most often takes cat for dog (2 ×)" in html
    assert 'data-label="cat" data-answer="dog" data-backbone="fake:b"' in html


def test_labels_are_kept_and_half_a_line_is_ignored(ran):
    evaluation = ran("zzz", "zzzz")
    report, folder = evaluation.report, evaluation.folder
    labelling.append(folder, analysis.step(report, labelling.read(folder), "label", 0, ["cat"]))
    with (folder / "labels.jsonl").open("ab") as file:
        file.write(b'{"image": "')
    labels = labelling.read(folder)
    assert labels.right == {report.images.images[0].sha256: ("cat",)}
    html = gallery.labelling(report, evaluation.id, analysis.session(report, labels))
    assert "1 of 2" in html
    assert 'data-image="1"' in html
    assert html.count("data-key=") == 2


def test_label_that_cannot_be_written_is_an_error(ran):
    evaluation = ran("zzz")
    (evaluation.folder / "labels.jsonl").mkdir()
    with pytest.raises(LineupError, match="writing failed"):
        labelling.append(evaluation.folder, {"undo": True})


def test_calibration_is_in_the_report_and_its_curves_on_the_page(ran):
    report = ran(*["cat"] * 16, *["dog"] * 8).report
    [a, _] = report.to_json()["backbones"]
    calibration = report.backbones[0].calibration
    # all images have the same logits, so the temperature makes the confidence the accuracy
    assert a["calibration"]["accuracy"] == pytest.approx(2 / 3)
    assert a["calibration"]["ece"] == pytest.approx(abs(a["calibration"]["confidence"] - 2 / 3))
    assert a["calibration"]["ece_with_temperature"] < 0.05
    assert (a["calibration"]["fitted_on"], a["calibration"]["images"]) == (12, 12)
    json.dumps(report.to_json())
    html = gallery.reliability(report)
    assert html.count("<svg") == 2
    assert f"temperature {calibration.temperature:.2f}" in html


def test_few_labels_fit_no_temperature_and_none_no_curve(ran):
    [few, _] = ran("cat", "dog").report.backbones
    assert few.calibration.temperature is None
    assert "at least 20" in gallery.reliability(ran("cat", "dog").report)


def test_unlabelled_images_have_no_calibration_and_no_plot(ran):
    report = ran("zzz", "zzzz").report
    assert [each.to_json()["calibration"] for each in report.backbones] == [None, None]
    assert gallery.points(report) == []
    assert gallery.plot(report) is None


def test_plot_has_whiskers_at_the_limits_of_the_intervals(ran):
    report = ran("cat", "dog", "cat").report
    drawn = {layer["mark"]["type"]: layer["data"]["values"] for layer in gallery.plot(report).to_dict()["layer"]}
    figures = report.backbones[0].to_json()["top1_among"]
    assert drawn["rule"][0]["low"] == pytest.approx(100 * figures["low"])
    assert drawn["rule"][0]["high"] == pytest.approx(100 * figures["high"])


def test_last_of_two_filters_is_shown(ran):
    evaluation, section, state = ran("cat", "dog"), ExploringSection(), PageState()
    with gr.Blocks():
        section.build()
    section.page, state.evaluation = SimpleNamespace(evaluations=evaluation.evaluations), evaluation.id

    async def both():
        wanted = [section._filtered(state, "among", kind, "fake:a", "fake:b", None) for kind in ("label", "only")]
        return await asyncio.gather(*wanted)

    first, last = asyncio.run(both())
    assert first == {section.gallery: gr.skip()}
    assert last[section.right].visible
    assert last[section.filter][0].kind == "only"


def test_report_is_kept_until_more_is_computed_or_chosen(ran):
    evaluation = ran("cat", "dog")
    assert reading.report(evaluation.evaluations, evaluation.id) is evaluation.report
    evaluation.evaluations.choose(evaluation.id, {"dog": ["owl"]})
    assert reading.report(evaluation.evaluations, evaluation.id) is not evaluation.report
