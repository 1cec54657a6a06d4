import pytest
from PIL import Image

from lineup import config
from lineup.errors import HubError, ImageError
from lineup.hub import downloads
from lineup.images import examples
from lineup.images.examples import Example


def find_in(tmp_path, text):
    (tmp_path / "config.yaml").write_text(f"backbones: [resnet18]\n{text}")
    return examples.find(config.load(tmp_path / "config.yaml"))


def image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (2, 2)).save(path)
    return str(path)


def test_folder_lists_its_images_sorted_by_name(tmp_path):
    names = {"b-two.png": "b two", "c_the_third.JPEG": "c the third", "a.webp": "a"}
    expected = [Example(image(tmp_path / "shown" / name), caption) for name, caption in names.items()]
    (tmp_path / "shown" / "README.md").write_text("not an image")
    (tmp_path / "shown" / "png").write_text("no suffix")
    assert find_in(tmp_path, "examples: shown\n") == (sorted(expected, key=lambda example: example.caption), [])


def test_missing_or_empty_folder_is_reported_with_position(tmp_path):
    folder, where = tmp_path / "shown", "config.yaml:3:1: examples"
    missing = f"{where}: expected a folder of images; {folder} does not exist; check the path"
    assert find_in(tmp_path, "title: x\nexamples: shown\n") == ([], [missing])
    folder.mkdir()
    (folder / "README.md").write_text("not an image")
    empty = f"{where}: expected images in {folder}; there are none; add some, or remove `examples`"
    assert find_in(tmp_path, "title: x\nexamples: shown\n") == ([], [empty])


def test_list_keeps_order_and_captions(tmp_path):
    maze, jay = image(tmp_path / "a" / "the_old-maze.png"), image(tmp_path / "jay.jpg")
    text = f"examples:\n  - {{image: jay.jpg, caption: A jay}}\n  - a/the_old-maze.png\n  - image: {jay}\n"
    assert find_in(tmp_path, text) == ([Example(jay, "A jay"), Example(maze, "the old maze"), Example(jay, "jay")], [])


def test_missing_images_are_reported_and_the_others_kept(tmp_path):
    jay = image(tmp_path / "jay.jpg")
    (tmp_path / "folder.png").mkdir()
    text = "examples:\n  - none.png\n  - jay.jpg\n  - caption: x\n    image: gone.png\n  - folder.png\n"
    places = {"none.png": "3:5: examples[0]", "gone.png": "5:5: examples[2]", "folder.png": "7:5: examples[3]"}
    assert find_in(tmp_path, text) == (
        [Example(jay, "jay")],
        [
            f"config.yaml:{place}: expected a path, https:// or hf://datasets/; "
            f"{tmp_path / name} does not exist; check it"
            for name, place in places.items()
        ],
    )


@pytest.mark.parametrize("text", ["examples: [jay.jpg]\n", "examples: .\n"])
def test_example_that_cannot_be_read_is_reported(tmp_path, monkeypatch, text):
    image(tmp_path / "jay.jpg")
    monkeypatch.setattr(examples.os, "access", lambda path, mode: False)  # root may read any file
    found, (problem,) = find_in(tmp_path, text)
    assert found == []
    assert problem.startswith("config.yaml:2:")
    assert "jay.jpg cannot" in problem


def test_folder_that_cannot_be_read_is_reported(tmp_path, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "shown").mkdir()
    monkeypatch.setattr(examples.Path, "iterdir", refuse)
    got = f"{tmp_path / 'shown'} cannot be read: Permission denied"
    message = f"config.yaml:3:1: examples: expected a folder of images; {got}; check it"
    assert find_in(tmp_path, "title: x\nexamples: shown\n") == ([], [message])


URLS = [
    ("https://example.org/a/red_kite.jpg", "https://example.org/a/red_kite.jpg"),
    ("hf://datasets/o/r/red_kite.jpg", "https://huggingface.co/datasets/o/r/resolve/main/red_kite.jpg"),
    ("hf://datasets/o/r.x/a/b/red_kite.jpg", "https://huggingface.co/datasets/o/r.x/resolve/main/a/b/red_kite.jpg"),
    ("hf://datasets/o/r@v1.0/red_kite.jpg", "https://huggingface.co/datasets/o/r/resolve/v1.0/red_kite.jpg"),
]


@pytest.mark.parametrize(("written", "url"), URLS)
def test_url_is_resolved_without_a_request(tmp_path, written, url):
    (example,), problems = find_in(tmp_path, f"examples: ['{written}']\n")
    assert (example, example.is_remote, problems) == (Example(url, "red kite"), True, [])


def test_failed_download_is_an_image_error(monkeypatch):
    def fail(file, timeout_s):
        raise HubError("", "", "a.png: no answer; try again later")

    monkeypatch.setattr(downloads, "fetch", fail)
    with pytest.raises(ImageError, match=r"^a\.png: no answer; try again later$"):
        examples.fetch(Example("https://example.org/a.png", "a"), config.Limits())
