"""Where feedback may be kept."""

from pathlib import Path

import pytest

import lineup
from lineup import config
from lineup.config import feedback_target, yaml_source
from lineup.errors import ConfigError

SERVED = "feedback.to: expected a folder that is neither served nor uploaded to a Space; got"
MORE = "examples: pictures\nbackbones: [a, local-dir:nets/a]\n"


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Return a function that reads a config with this target from a folder, and returns it, or its problem."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    folder = tmp_path / "fork"
    folder.mkdir()

    def read(to, more=MORE):
        text = f"{more}feedback:\n  per_day: 5\n  to: {to!r}\n"
        try:
            return config.build(yaml_source.parse(text, "config.yaml"), folder)
        except ConfigError as error:
            [problem] = error.problems
            return problem

    return read


@pytest.mark.parametrize("to", ["feedback", "a/b", "../feedback", "pictures of birds", "nets", "~/feedback", "ä 鳥"])
def test_folder_is_taken(read, to):
    if to == "nets":  # around a backbone's folder
        assert "around 'nets/a', which the config names" in read(to)
        return
    found = read(to)
    assert (found.feedback.to, found.feedback.repo) == (to, "")


def test_absolute_folder_and_that_of_the_user_are_resolved(read, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert read(str(tmp_path / "kept")).feedback.to == str(tmp_path / "kept")
    assert feedback_target.resolved("~/x", Path("/srv")) == tmp_path / "home" / "x"
    assert feedback_target.resolved("x", tmp_path / "fork") == tmp_path / "fork" / "x"


@pytest.mark.parametrize(
    ("to", "where"),
    [
        (".", "the config's own folder"),
        ("..", "around the config's own folder"),
        ("/", "around the config's own folder"),
        ("../uploads", "the folder of uploads, which the server empties"),
        ("../uploads/x", "in the folder of uploads, which the server empties"),
        ("pictures", "'pictures', which the config names"),
        ("pictures/kept", "in 'pictures', which the config names"),
        ("nets/a/kept", "in 'nets/a', which the config names"),
        (str(Path(lineup.__file__).parent / "kept"), "in the code of the app"),
        (str(Path(lineup.__file__).parents[1] / "docs"), "docs, which is uploaded to a Space"),
    ],
)
def test_folder_that_is_served_or_uploaded_is_refused(read, to, where):
    expected = f"config.yaml:5:3: {SERVED} {to!r}, {where}; choose one for feedback alone, such as feedback"
    assert read(to) == expected or (len(to) > 76 and read(to).startswith(f"config.yaml:5:3: {SERVED}"))


def test_link_into_a_served_folder_is_refused(read, tmp_path):
    (tmp_path / "fork" / "pictures").mkdir()
    (tmp_path / "fork" / "kept").symlink_to("pictures")
    assert "'pictures', which the config names" in read("kept")
    (tmp_path / "fork" / "circle").symlink_to("circle")
    assert "expected a folder" in read("circle/x")


def test_folder_around_an_example_is_refused(read):
    more = "examples: [kept/jay.jpg, 'https://x.org/a.jpg', {image: owl.jpg}]\nbackbones: [a]\n"
    assert "around an example image" in read("kept", more)
    assert read("others", more).feedback.to == "others"


def test_file_is_refused(read, tmp_path):
    (tmp_path / "fork" / "kept").touch()
    assert read("kept").endswith("got 'kept', a file; choose another")


def test_data_set_of_the_hub(read):
    assert read("hf://datasets/me/my-birds_1.0").feedback.repo == "me/my-birds_1.0"
