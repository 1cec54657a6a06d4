import pytest
from PIL import Image

from lineup import config
from lineup.errors import HubError, ImageError
from lineup.hub import downloads
from lineup.images import examples
from lineup.images.examples import Example


def found_in(tmp_path, text):
    (tmp_path / "config.yaml").write_text(f"backbones: [resnet18]\n{text}")
    return examples.find(config.load(tmp_path / "config.yaml"))


def image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (2, 2)).save(path)
    return str(path)


def test_a_folder_offers_its_images_in_the_order_of_their_names(tmp_path):
    names = {"b-two.png": "b two", "c_the_third.JPEG": "c the third", "a.webp": "a"}
    offered = [Example(image(tmp_path / "shown" / name), caption) for name, caption in names.items()]
    (tmp_path / "shown" / "README.md").write_text("not an image")
    (tmp_path / "shown" / "png").write_text("no suffix")
    assert found_in(tmp_path, "examples: shown\n") == (sorted(offered, key=lambda each: each.caption), [])


def test_a_folder_that_is_missing_or_without_images_is_told_at_its_place(tmp_path):
    folder, where = tmp_path / "shown", "config.yaml:3:1: examples"
    missing = f"{where}: expected a folder of images; {folder} does not exist; check the path"
    assert found_in(tmp_path, "title: x\nexamples: shown\n") == ([], [missing])
    folder.mkdir()
    (folder / "README.md").write_text("not an image")
    empty = f"{where}: expected images in {folder}; there are none; add some, or remove `examples`"
    assert found_in(tmp_path, "title: x\nexamples: shown\n") == ([], [empty])


def test_a_list_keeps_its_order_and_its_captions(tmp_path):
    maze, jay = image(tmp_path / "a" / "the_old-maze.png"), image(tmp_path / "jay.jpg")
    text = f"examples:\n  - {{image: jay.jpg, caption: A jay}}\n  - a/the_old-maze.png\n  - image: {jay}\n"
    assert found_in(tmp_path, text) == ([Example(jay, "A jay"), Example(maze, "the old maze"), Example(jay, "jay")], [])


def test_missing_images_are_told_at_their_places_and_the_others_stay(tmp_path):
    jay = image(tmp_path / "jay.jpg")
    (tmp_path / "folder.png").mkdir()
    text = "examples:\n  - none.png\n  - jay.jpg\n  - caption: x\n    image: gone.png\n  - folder.png\n"
    places = {"none.png": "3:5: examples[0]", "gone.png": "5:5: examples[2]", "folder.png": "7:5: examples[3]"}
    assert found_in(tmp_path, text) == (
        [Example(jay, "jay")],
        [
            f"config.yaml:{place}: expected a path, https:// or hf://datasets/; "
            f"{tmp_path / name} does not exist; check it"
            for name, place in places.items()
        ],
    )


ADDRESSES = [
    ("https://example.org/a/red_kite.jpg", "https://example.org/a/red_kite.jpg"),
    ("hf://datasets/o/r/red_kite.jpg", "https://huggingface.co/datasets/o/r/resolve/main/red_kite.jpg"),
    ("hf://datasets/o/r.x/a/b/red_kite.jpg", "https://huggingface.co/datasets/o/r.x/resolve/main/a/b/red_kite.jpg"),
    ("hf://datasets/o/r@v1.0/red_kite.jpg", "https://huggingface.co/datasets/o/r/resolve/v1.0/red_kite.jpg"),
]


@pytest.mark.parametrize(("written", "address"), ADDRESSES)
def test_an_address_is_taken_without_asking_for_it(tmp_path, written, address):
    (found,), problems = found_in(tmp_path, f"examples: ['{written}']\n")
    assert (found, found.is_remote, problems) == (Example(address, "red kite"), True, [])


def test_a_image_that_cannot_be_fetched_is_a_image_error(monkeypatch):
    def fail(file, timeout_s):
        raise HubError("", "", "a.png: no answer; try again later")

    monkeypatch.setattr(downloads, "fetch", fail)
    with pytest.raises(ImageError, match=r"^a\.png: no answer; try again later$"):
        examples.fetch(Example("https://example.org/a.png", "a"), config.Limits())
