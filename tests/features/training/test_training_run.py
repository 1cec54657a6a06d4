"""Trainings: from a folder to a saved classifier that is served with the same numbers; what is refused, and why."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from drawing import draw
from safetensors import SafetensorError
from waiting import until

from lineup.analysis import heads
from lineup.errors import BackboneError, LineupError
from lineup.features.training import saving
from lineup.features.training.run import Trainings
from lineup.images import image_set
from lineup.page.folder_uploads import is_disk_full
from lineup.registry import trained_folder

TINY = "precision: float32\nengine: torch\nbackbones: [{name: a, backbone: test_resnet.r160_in1k, input_size: 64}]"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LINEUP_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    """Four images of each of three classes."""
    for index in range(12):
        path = tmp_path / "images" / ("cat", "dog 🐶", "owl")[index % 3] / f"{index}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(path, seed=index)
    return tmp_path / "images"


@pytest.fixture
def service(make_service, publish, hub, fresh_cache):
    publish("test_resnet.r160_in1k")
    return make_service(TINY)


def trained(service, folder, names=("a",)):
    trainings = Trainings(service)
    training = trainings.create(image_set.collect(folder), names)
    return trainings, training, trainings.run(training)


def test_saved_folder_is_served_with_the_same_numbers(service, folder, tmp_path, make_service):
    trainings, training, status = trained(service, folder)
    assert (status.state, status.done, status.total) == ("done", 13, 13)
    report = trainings.report(training)
    assert report.classes == ("cat", "dog 🐶", "owl")
    assert (report.backbones[0].method, report.backbones[0].accuracy.n) == ("nearest centroid", 12)
    trainings.save(training, "a", tmp_path / "mine")
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    served = make_service(TINY.replace("test_resnet.r160_in1k, input_size: 64", '"local-dir:mine"'))
    head = trainings.head(training, "a")
    for path in sorted(folder.rglob("*.jpg"))[:4]:
        answer = served.classify(path)
        with service.pinned("a", "features") as backbone:
            [expected] = head.probabilities(backbone.outputs([path]))
        assert len(answer.predictions) == 3
        for each in answer.predictions:
            assert report.classes[each.class_index] == each.label
            assert each.probability == pytest.approx(expected[each.class_index], abs=1e-5)
        before = trainings.predict(training, "a", path)
        assert [each.label for each in before] == [each.label for each in answer.predictions]
    assert served.status("a").notes[0].startswith("trained on 12 images of 3 classes; accuracy ")


TOWER = TINY.replace("test_resnet.r160_in1k", "deit_tiny_distilled_patch16_224, pretrained: false")


def turned(path, target):
    """Save an image as a camera that was held upright does."""
    from PIL import ExifTags, Image

    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    image = Image.open(path)
    image.transpose(Image.Transpose.ROTATE_90).save(target, exif=exif, quality=95)
    return target


@pytest.mark.parametrize("config", [TINY, TOWER], ids=["plain", "with a head beside its tower"])
def test_card_has_python_that_loads_the_folder(make_service, publish, hub, fresh_cache, folder, tmp_path, config):
    publish("test_resnet.r160_in1k")
    trainings, training, _ = trained(make_service(config), folder)
    python = trainings.python(training, "a", "it's mine")
    assert not list(trainings.folder(training).glob("*.zip"))
    trainings.save(training, "a", tmp_path / "it's mine")
    code = (tmp_path / "it's mine" / "README.md").read_text().split("```python\n")[1].split("```")[0]
    path = turned(next(folder.rglob("*.jpg")), tmp_path / "image.jpg")
    assert python == code.rstrip()
    assert len(code.strip().splitlines()) <= 10
    code = code.replace("image.jpg", str(path))
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    answer = {each.label: each.probability for each in trainings.predict(training, "a", path)}
    assert eval(result.stdout) == pytest.approx(answer, abs=1e-4)


def test_second_training_computes_only_new_images(service, folder, monkeypatch):
    trained(service, folder)
    draw(folder / "owl" / "new.jpg", seed=99)
    from lineup.inference import batches

    computed, compute = [], batches.compute
    monkeypatch.setattr(
        batches, "compute", lambda b, images, *rest: computed.extend(images) or compute(b, images, *rest)
    )
    _, _, status = trained(service, folder)
    assert status.state == "done"
    assert [Path(path).name for path in computed] == ["new.jpg"]


def test_cancelled_training_is_resumed_and_leaves_nothing_half_written(service, folder, monkeypatch):
    trainings = Trainings(service)
    training = trainings.create(image_set.collect(folder), ["a"])
    fit = heads.cross_validated

    def cancelled(*arguments, check):
        trainings.cancel(training)
        return fit(*arguments, check=check)

    monkeypatch.setattr(heads, "cross_validated", cancelled)
    assert trainings.run(training).state == "cancelled"
    assert trainings.report(training).backbones == ()
    assert not list(trainings.folder(training).glob("head-*"))
    monkeypatch.setattr(heads, "cross_validated", fit)
    status = trainings.run(training)
    assert (status.state, status.done) == ("done", status.total)


def test_held_out_images_have_the_accuracy_that_evaluate_reports(service, folder, tmp_path, make_service):
    from lineup.features.evaluation import reading
    from lineup.features.evaluation.run import Evaluations

    for index, path in enumerate(sorted(folder.rglob("*.jpg"))):
        split = "test" if index % 4 == 0 else "val" if index == 5 else "train"
        target = tmp_path / "split" / split / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    trainings, training, _ = trained(service, tmp_path / "split")
    held_out = trainings.report(training).backbones[0].held_out
    assert (held_out.n, held_out.n_fitted) == (3, 8)
    trainings.save(training, "a", tmp_path / "mine")
    assert f"on held-out images: {held_out.text}" in (tmp_path / "mine" / "README.md").read_text()
    served = make_service(TINY.replace("test_resnet.r160_in1k, input_size: 64", '"local-dir:mine"'))
    evaluations = Evaluations(served)
    evaluation = evaluations.create(image_set.collect(tmp_path / "split").of_split("test"), ["a"])
    evaluations.run(evaluation)
    assert reading.report(evaluations, evaluation).verdict.scores[0].right == held_out.right


def test_copies_of_held_out_images_are_not_trained_on(service, folder, tmp_path):
    from PIL import Image

    for index, path in enumerate(sorted(folder.rglob("*.jpg"))):
        target = tmp_path / "split" / ("test" if index % 4 == 0 else "train") / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    for path in sorted((tmp_path / "split" / "test").rglob("*.jpg"))[:2]:
        copy = tmp_path / "split" / "train" / path.parent.name / "copy.png"
        Image.open(path).resize((70, 60)).save(copy)
    trainings, training, _ = trained(service, tmp_path / "split")
    report = trainings.report(training)
    assert report.backbones[0].held_out.n_fitted == 9
    note = "2 files are not trained on: they are related to held-out ones, or nearly the same."
    assert note in report.notes
    trainings.save(training, "a", tmp_path / "mine")
    assert "trained on 9 images of 3 classes" in (tmp_path / "mine" / "README.md").read_text()


def test_added_entry_answers_on_the_running_page(service, folder):
    trainings, training, _ = trained(service, folder)
    entry = trainings.add(training, "a", "my birds/2")
    path = next(folder.rglob("*.jpg"))
    answer = service.classify(path, "my birds/2")
    assert answer.label_set == "label_names of my birds%2F2"
    assert entry.name in service.names
    with pytest.raises(LineupError, match="a name that is not in use; there is a 'my birds/2'"):
        trainings.add(training, "a", "my birds/2")
    trainings.delete_old()
    assert service.classify(path, "my birds/2")


@pytest.mark.parametrize("name", ["a", " mine", "", "x" * 201])
def test_entry_that_is_refused_leaves_no_folder(service, tmp_path, name):
    with pytest.raises(LineupError):
        Trainings(service).add("none", "a", name)
    assert not list((tmp_path / "cache").rglob("classifiers/*"))


def test_strangers_may_add_entries_only_if_the_config_says_so(service, folder, monkeypatch, make_service):
    monkeypatch.setenv("SPACE_ID", "me/lineup")
    trainings, training, _ = trained(service, folder)
    with pytest.raises(LineupError, match=r"a page of your own, or `public: true`; this page is open to all"):
        trainings.add(training, "a", "mine")
    assert Trainings(make_service(f"training: {{public: true}}\n{TINY}")).adding_problem is None


def test_archive_is_a_zip_file_of_the_folder(service, folder):
    import zipfile

    trainings, training, _ = trained(service, folder)
    with zipfile.ZipFile(trainings.archive(training, "a", "../mine")) as file:
        assert {Path(name).name for name in file.namelist()} == {"README.md", "config.json", "model.safetensors"}
        assert {Path(name).parent.as_posix() for name in file.namelist()} == {"%2E.%2Fmine"}
    assert trainings.archive(training, "a", "鳥" * 66).is_file()


def test_archives_of_many_names_do_not_fill_the_disk(tmp_path):
    for index in range(10):
        path = saving.archive(tmp_path / f"{index}.zip", "birds", lambda folder: folder.mkdir())
        assert path.is_file()
    assert len(list(tmp_path.iterdir())) == saving.MAX_ARCHIVES


def test_new_folder_appears_whole_or_not_at_all(service, folder, tmp_path, monkeypatch):
    trainings, training, _ = trained(service, folder)
    (tmp_path / "there").mkdir()
    with pytest.raises(LineupError, match="a new folder; there is one; choose another name"):
        trainings.save(training, "a", tmp_path / "there")
    with pytest.raises(LineupError, match="there is no such folder"):
        trainings.save(training, "a", tmp_path / "no" / "mine")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving.card, "text", full)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(LineupError, match="No space left on device"):
        trainings.save(training, "a", tmp_path / "mine")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES], ids=errno.errorcode.get)
def test_full_disk_is_told_by_its_number_whatever_the_path_is_called(service, folder, tmp_path, monkeypatch, number):
    def refused(*arguments, **named):
        raise SafetensorError(f'Error while serializing: I/O error: … (os error {number}) at path "{tmp_path}/space/x"')

    monkeypatch.setattr(trained_folder, "save_for_hf", refused)
    trainings, training, _ = trained(service, folder)
    (tmp_path / "space").mkdir()
    with pytest.raises(LineupError, match=os.strerror(number)) as raised:
        trainings.save(training, "a", tmp_path / "space" / "mine")
    assert is_disk_full(raised.value.__cause__) == (number == errno.ENOSPC)


def test_saved_folder_names_no_folder_of_this_machine(service, folder, tmp_path, make_service):
    trainings, training, _ = trained(service, folder)
    trainings.save(training, "a", tmp_path / "first")
    again = make_service(f"backbones: [{{name: a, backbone: 'local-dir:{tmp_path / 'first'}'}}]")
    trainings, training, _ = trained(again, folder)
    trainings.save(training, "a", tmp_path / "second")
    for name in ("README.md", "config.json"):
        text = (tmp_path / "second" / name).read_text()
        assert "local-dir:first" in text
        assert str(tmp_path) not in text


def test_draft_of_a_killed_process_is_deleted_by_the_next_save(service, folder, tmp_path):
    trainings, training, _ = trained(service, folder)
    old, running = tmp_path / f".mine [1].{'0' * 16}.partial", tmp_path / f".mine [1].{'1' * 16}.partial"
    for draft in (old, running):
        draft.mkdir()
        (draft / "model.safetensors").write_bytes(b"half")
    os.utime(old, (0, 0))
    trainings.save(training, "a", tmp_path / "mine [1]")
    assert not old.exists()
    assert running.exists()


def test_images_that_belong_together_are_one_group(service, folder):
    rows = [{"file_name": path.relative_to(folder).as_posix(), "group": "x"} for path in (folder / "cat").iterdir()]
    (folder / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    trainings, training, _ = trained(service, folder)
    report = trainings.report(training)
    assert len(np.unique(report.groups)) == 9
    assert "Too few independent images to test cat: at least two are needed." in report.notes


def test_class_of_one_shape_on_white_is_tested_all_the_same(service, folder):
    from PIL import Image, ImageDraw

    for index in range(6):
        image = Image.new("RGB", (96, 96), "white")
        sheet = ImageDraw.Draw(image)
        sheet.rectangle((20, 20, 76, 76), "black")
        sheet.rectangle((24 + 8 * index, 30, 34 + 8 * index, 40), (200, 150, 90))
        (folder / "plate").mkdir(exist_ok=True)
        image.save(folder / "plate" / f"{index}.png")
        image.save(folder / "plate" / f"{index}.jpg", quality=70)
    trainings, training, _ = trained(service, folder)
    report = trainings.report(training)
    plates = report.truth == report.classes.index("plate")
    assert len(np.unique(report.groups[plates])) == 6
    assert np.isfinite(report.backbones[0].probabilities[plates]).all()
    assert "Most images of plate look alike, and are tested all the same: others may be harder." in report.notes


def test_backbone_without_features_is_left_out_with_the_reason(make_service, fakes, folder):
    trainings, training, status = trained(make_service("backbones: ['fake:a']"), folder, ["fake:a"])
    assert (status.state, status.done) == ("done", status.total)
    assert "expected a backbone that returns features" in trainings.report(training).left_out["fake:a"]


@pytest.mark.parametrize("pretrained", ["true", "false"])
def test_backbone_of_another_library_is_left_out_before_its_download(
    make_service, folder, hub, fresh_cache, pretrained
):
    service = make_service(f"backbones: [{{backbone: torchvision/squeezenet1_1, pretrained: {pretrained}}}]")
    trainings, training, _ = trained(service, folder, ["torchvision/squeezenet1_1"])
    [reason] = trainings.report(training).left_out.values()
    assert "expected a backbone of timm, whose format a new head is saved in" in reason
    assert trainings.candidates == []


def test_full_memory_is_one_sentence(service, folder, monkeypatch):
    def exhausted(*arguments, **named):
        raise MemoryError

    monkeypatch.setattr(heads, "cross_validated", exhausted)
    _, _, status = trained(service, folder)
    assert status.state == "failed"
    assert "expected enough memory for the features; 12 images take more than there is" in status.problem


def test_unreadable_files_are_named_and_the_others_train(service, folder):
    (folder / "cat" / "empty.jpg").write_bytes(b"")
    whole = next((folder / "owl").iterdir()).read_bytes()
    (folder / "owl" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    trainings, training, status = trained(service, folder)
    assert status.state == "done"
    [note] = [note for note in trainings.report(training).notes if "cannot be read" in note]
    assert note.startswith("2 files cannot be read")


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (["cat/1.jpg", "cat/2.jpg"], "images of two classes or more; all 2 images are of 'cat'"),
        (["cat/1.jpg"], "the only image is of 'cat'"),
        (["1.jpg"], "the only image has no label"),
        (["train/cat/1.jpg", "train/cat/2.jpg", "test/dog/3.jpg"], "all 2 images to train on are of 'cat'"),
        (["cat/1.jpg", "cat/2.jpg", "3.jpg"], "all 2 images with a label are of 'cat'"),
    ],
)
def test_too_few_classes_are_refused(make_service, tmp_path, files, sentence, fakes):
    for index, name in enumerate(files):
        path = tmp_path / "few" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(path, seed=index)
    with pytest.raises(LineupError, match=sentence):
        trained(make_service("backbones: ['fake:a']"), tmp_path / "few", ["fake:a"])


def test_same_image_in_two_classes_is_left_out_with_a_note(service, folder):
    image = next((folder / "cat").iterdir())
    (folder / "owl" / "copy.jpg").write_bytes(image.read_bytes())
    trainings, training, _ = trained(service, folder)
    report = trainings.report(training)
    assert len(report.images.images) == 11
    assert any("are the same image" in note for note in report.notes)


@pytest.mark.parametrize("label", ["a/b", "..", "🦜 parrot", "con", "x" * 150, "train"])
def test_any_name_of_a_class_is_kept(service, folder, tmp_path, make_service, label):
    from PIL import Image

    from lineup.images import labelled_folder

    for index in range(2):
        labelled_folder.write(folder, label, Image.open(draw(tmp_path / "new.jpg", seed=50 + index)))
    trainings, training, _ = trained(service, folder)
    trainings.save(training, "a", tmp_path / "mine")
    served = make_service(TINY.replace("test_resnet.r160_in1k, input_size: 64", '"local-dir:mine"'))
    assert label in {each.label for each in served.classify(next(folder.rglob("*.jpg")), top_k=9).predictions}


@pytest.mark.parametrize("labels", [("LABEL_0", "LABEL_1"), ("2", "10"), ("class 1", "class 0")], ids=str)
def test_classes_that_are_called_as_numbered_ones_are_kept(service, tmp_path, make_service, labels):
    for index in range(4):
        path = tmp_path / "few" / labels[index % 2] / f"{index}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(path, seed=index)
    trainings, training, _ = trained(service, tmp_path / "few")
    trainings.save(training, "a", tmp_path / "mine")
    served = make_service(TINY.replace("test_resnet.r160_in1k, input_size: 64", '"local-dir:mine"'))
    expected = {each.label: each.probability for each in trainings.predict(training, "a", path)}
    assert {each.label: each.probability for each in served.classify(path).predictions} == pytest.approx(expected)
    assert expected.keys() == set(labels)


def test_thousand_classes_of_one_image_train(service, tmp_path, monkeypatch):
    from PIL import Image

    draw_colour = np.random.default_rng(0)
    for index in range(1000):
        path = tmp_path / "many" / f"class {index}" / "1.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(draw_colour.integers(0, 255, (8, 8, 3), np.uint8)).save(path)
    monkeypatch.setattr("lineup.inference.batches.BATCH_BYTES", 8 << 20)
    trainings, training, status = trained(service, tmp_path / "many")
    report = trainings.report(training)
    assert (status.state, len(report.classes)) == ("done", 1000)
    assert report.backbones[0].accuracy.text == "unknown"
    assert any(note.startswith("Too few independent images to test") for note in report.notes)


def test_unknown_backbone_is_refused(service, folder):
    with pytest.raises(BackboneError, match="a name of the line-up"):
        Trainings(service).create(image_set.collect(folder), ["b"])


def test_training_in_a_thread_can_be_watched(service, folder):
    trainings = Trainings(service)
    training = trainings.create(image_set.collect(folder), ["a"], folder)
    trainings.start(training).join(60)
    until(lambda: trainings.status(training).state == "done")
    assert (trainings.folder(training) / "images").is_dir()
