"""`python -m lineup feedback review|stats|export`."""

import json

import pytest
from commands import run_command
from feedback import Feedbacks

from lineup.errors import LineupError
from lineup.features.feedback import feature
from lineup.features.feedback.review import Review

CONFIG = "backbones: [fake:a]\nfeedback: {to: kept birds}\n"


@pytest.fixture
def kept(tmp_path, fakes):
    (tmp_path / "config.yaml").write_text(CONFIG)
    return Feedbacks(tmp_path / "kept birds")


@pytest.fixture
def feedback(tmp_path, capsys):
    """Return a function that runs the command; it returns its status and output."""

    def run(*arguments):
        status = run_command(["feedback", *arguments, "--config", str(tmp_path / "config.yaml")])
        return status, *capsys.readouterr()

    return run


def test_review_lists_disputed_images_first(kept, feedback):
    right = kept.add(1, "jay", "jay")
    wrong = kept.add(2, "owl", "jay", "wren")
    status, out, err = feedback("review")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split("  ")[0] == "image"
    assert lines[1].split() == [wrong.image, "owl", "a:", "jay,", "b:", "wren"]
    assert lines[2].split() == [right.image, "jay", "a:", "jay"]
    assert lines[4] == "2 images to review; users corrected 1 of them"
    listed = json.loads(feedback("review", "--json")[1])
    assert [image["id"] for image in listed] == [wrong.image, right.image]
    assert listed[0]["labels"] == {"owl": 1}
    assert listed[0]["answers"][0]["said"][1]["label"] == "wren"


def test_review_accepts_and_rejects(kept, feedback, tmp_path):
    ids = [kept.add(number, "jay").image for number in range(4)]
    status, out, _ = feedback("review", "--accept", *ids[:2], "--label", "blue jay", "--reject", ids[2])
    assert status == 0
    assert out.splitlines()[0] == "accepted 2 images and rejected 1 image; 1 image left to review"
    assert out.splitlines()[1] == f"accepted images: {tmp_path / 'kept birds' / 'accepted'}"
    assert [name for name in kept.files if name.startswith("accepted/blue")] == [
        f"accepted/blue jay/{name}.jpg" for name in sorted(ids[:2])
    ]
    found = json.loads(feedback("review", "--accept", ids[3], "--json")[1])
    assert (found["accepted"], found["rejected"], found["pending"]) == (1, 0, 0)
    assert feedback("review")[1] == "no images to review\n"


def test_mistakes_are_sentences_and_change_nothing(kept, feedback):
    name = kept.add(1, "jay").image
    for arguments, message in {
        ("--accept", "0" * 16): "image: expected the id of an image that is not reviewed",
        ("--accept", name, "--reject", name): "--reject: expected other images than --accept",
        ("--label", "jay"): "--label: expected --accept with the ids of images",
        ("--accept", name, "--label", ""): "label: expected a label; it is empty",
        ("--accept", name, "--reject", "x"): "image: expected the id of an image that is not reviewed",
    }.items():
        status, out, err = feedback("review", *arguments)
        assert (status, out) == (2, "")
        assert err.startswith(f"error: {message}")
    assert [image.id for image in kept.review.pending()] == [name]


def test_stats_tell_how_often_backbones_were_corrected(kept, feedback, tmp_path):
    assert feedback("stats")[1].splitlines()[0] == "images: 0 accepted, 0 rejected, 0 to review"
    name = kept.add(1, "owl").image
    kept.add(2, "jay")
    kept.review.accept([name])
    status, out, _ = feedback("stats")
    assert status == 0
    rows = [line.split("  ") for line in out.splitlines()]
    assert ["a", "(all)", "2", "1", "50%", "9% to 91%"] in [[cell.strip() for cell in row if cell] for row in rows]
    assert "users who chose to give one, and no sample of all" in out
    folder = tmp_path / "kept birds" / "accepted"
    assert f"python -m lineup evaluate '{folder}'" in out
    assert f"python -m lineup train '{folder}'" in out
    found = json.loads(feedback("stats", "--json")[1])
    assert found["n_answers"] == 2
    assert found["rates"][0]["n_corrected"] == 1


def test_export_writes_a_folder(kept, feedback, tmp_path):
    assert feedback("export", str(tmp_path / "out"))[0] == 2
    kept.review.accept([kept.add(1, "jay").image])
    status, out, _ = feedback("export", str(tmp_path / "out"))
    assert (status, out) == (0, f"{tmp_path / 'out'}: 1 image\n")
    assert len(list((tmp_path / "out").rglob("*.jpg"))) == 1


def test_without_a_target_there_is_a_sentence(kept, feedback, tmp_path):
    (tmp_path / "config.yaml").write_text("backbones: [fake:a]\n")
    for arguments in (["review"], ["stats"], ["export", str(tmp_path / "out")]):
        status, _, err = feedback(*arguments)
        assert status == 2
        assert err.startswith("error: feedback.to: expected where feedback is kept; there is none; add `feedback:")


def test_labels_of_others_do_not_reach_the_terminal_raw(kept, feedback):
    folder = kept.root / "unreviewed" / "a%1B[31m"
    folder.mkdir(parents=True)
    (folder / f"{'0' * 16}.jpg").touch()
    out = feedback("review")[1]
    assert "\x1b" not in out
    assert "a[31m" in out


class FakeCopy:
    """A copy on the Hub that is out of reach."""

    problem = "the Hub is away"

    def __init__(self):
        self.calls = []

    def pull(self, timeout_s):
        self.calls.append("pull")

    def apply(self, moves):
        self.calls += [move.decision for move in moves]

    def stop(self, timeout_s):
        self.calls.append("stop")


def test_copy_on_the_hub_is_pulled_before_and_pushed_after(kept, feedback, monkeypatch):
    name, copy = kept.add(1, "jay").image, FakeCopy()
    parts = feature.FeedbackParts(kept.collection, Review(kept.collection, copy), copy)
    monkeypatch.setattr(feature, "of", lambda service: parts)
    status, out, err = feedback("review", "--accept", name)
    assert copy.calls == ["pull", "accepted", "stop"]
    assert out.startswith("accepted 1 image")
    assert (status, err) == (2, "error: the Hub is away\n")
    with pytest.raises(LineupError):
        kept.review.image(name)
    feedback("review", "--accept", name)  # unknown now
    assert copy.calls[3:] == ["pull", "stop"]
