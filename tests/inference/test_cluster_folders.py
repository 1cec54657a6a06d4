"""Folders that are computed on a Ray cluster: the same answers, each computed once, whatever stops it."""

import json
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import folder_cluster
import numpy as np
import psutil
import pytest
from bad_images import small_bombs
from commands import run_command
from folder_cluster import counts, local_logits, parts, rows, write_config, write_images
from PIL import Image
from s3 import S3
from waiting import until

from lineup.errors import LineupError
from lineup.inference.cluster import folder_actor, folder_pass

N_IMAGES = 40


@pytest.fixture(scope="module")
def s3():
    with S3({"photos": {}, "answers": {}}) as server:
        yield server


@pytest.fixture(scope="module")
def cluster(s3):
    # not below pytest's folders: Ray's sockets have paths of at most 107 bytes
    with TemporaryDirectory(prefix="r") as folder, folder_cluster.cluster(Path(folder), **s3.env) as address:
        yield address


@pytest.fixture
def folder(tmp_path, monkeypatch, s3):
    """Return a folder with images and a config; answers and caches are in it."""
    monkeypatch.setenv("LINEUP_CACHE", str(tmp_path / "cache"))
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    write_config(tmp_path)
    write_images(tmp_path / "images", N_IMAGES)
    return tmp_path


@pytest.fixture
def run(folder, capsys):
    """Return a function that runs a command, and returns its status, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        status = run_command([*map(str, arguments), "--config", str(folder / "config.yaml"), "--json"])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def scores(report):
    """Return what a report says of each backbone, but for times and sizes."""
    keys = ("backbone", "top1_among", "top5_among", "top1_anywhere", "classes", "n_failed", "engine")
    return [{key: each[key] for key in keys} for each in report["backbones"]]


def probabilities(logits):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def require_equal(answers, expected):
    """Check that answers equal those of one machine, in float32.

    Torch's sums depend on the number of images in a batch: a machine's own logits differ by 1.2e-6 between batches of 2
    and of 40, which is four units in the last place of the largest one.
    """
    found = {row["image"]: row["output"] for row in rows(answers) if not row["problem"]}
    names = [name for name, row in expected.items() if np.isfinite(row).all()]
    ours, theirs = np.array([found[name] for name in names]), np.stack([expected[name] for name in names])
    worst, worst_answer = np.abs(ours - theirs).max(), np.abs(probabilities(ours) - probabilities(theirs)).max()
    print(f"{len(names):,} images: largest difference of a probability {worst_answer:.1e}, of a logit {worst:.1e}")
    assert worst_answer <= 1e-6
    assert worst <= 4e-6


@pytest.mark.long
def test_a_folder_has_the_report_of_one_machine_and_what_is_missing_alone_is_computed_again(
    cluster, folder, run, monkeypatch
):
    monkeypatch.setattr(folder_pass, "BLOCK_IMAGES", 8)
    images, answers = folder / "images", folder / "answers"
    (images / "tench" / "broken.jpg").write_bytes(b"no image")
    for number, (suffix, content) in enumerate(list(small_bombs())[:4]):
        (images / "tench" / f"bomb{number}{suffix}").write_bytes(content)
    (images / "hen").mkdir()
    (images / "hen" / "copy.jpg").write_bytes((images / "tench" / "00000.jpg").read_bytes())
    command = ("evaluate", images, "--cluster", "auto", "--answers", answers)
    status, out, err = run(*command)
    assert status == 0, err
    local = run("evaluate", images)
    assert local[0] == 0, local[2]
    ours, theirs = json.loads(out), json.loads(local[1])
    for key in ("name", "images", "labels", "left_out", "n_differing"):
        assert ours[key] == theirs[key], key
    assert len(ours["images"]["unreadable"]) >= 1
    assert len(ours["images"]["conflicts"]) == 1
    assert scores(ours) == scores(theirs)

    by_name = {row["image"]: row for row in rows(answers)}
    assert set(counts(answers).values()) == {1}
    assert len(by_name) == N_IMAGES + 6
    assert "broken.jpg" in by_name["tench/broken.jpg"]["problem"]
    expected = local_logits(folder / "config.yaml", images)
    require_equal(answers, expected)

    before = parts(answers)
    lost = list(before)[1:3]  # as if it had been killed before these were written
    (lost[0].parent / f".{lost[0].name}.partial").write_bytes(lost[0].read_bytes()[:99])
    for path in lost:
        path.unlink()
    n_lost = len(by_name) - sum(counts(answers).values())
    again = run(*command)
    assert again[0] == 0, again[2]
    assert set(counts(answers).values()) == {1}
    assert sum(counts(answers).values()) == len(by_name)
    kept = {path: status for path, status in before.items() if path not in lost}
    assert kept.items() <= parts(answers).items()
    assert 0 < n_lost < len(by_name)

    def never(*_):
        raise AssertionError("nothing is missing")

    monkeypatch.setattr(folder_pass, "blocks", never)
    assert json.loads(run(*command)[1])["images"] == ours["images"]


@pytest.mark.long
def test_ten_thousand_images_are_computed_once_each_though_actor_and_front_are_killed(folder, env):
    folder_cluster.require_ray()
    images, answers, n_images = write_images(folder / "many", 10_000), folder / "answers", 10_000
    command = [sys.executable, "-m", "lineup", "evaluate", images, "--config", folder / "config.yaml", "--json"]
    command += ["--cluster", "local", "--answers", answers]
    env |= {"RAY_TMPDIR": str(folder.parent), "LINEUP_CACHE": str(folder / "cache")}
    with subprocess.Popen([*map(str, command)], env=env, stdout=subprocess.DEVNULL, cwd=folder) as front:
        until(lambda: len(parts(answers)) >= 2, timeout_s=300)
        started = psutil.Process(front.pid).children(recursive=True)
        actors = [each for each in started if "MapWorker" in "".join(each.cmdline())]
        for actor in actors:
            actor.kill()
        until(lambda: len(parts(answers)) >= 8, timeout_s=300)
        started += psutil.Process(front.pid).children(recursive=True)
        front.kill()
    assert actors
    psutil.wait_procs(started, timeout=180)  # Ray's agents take a minute to notice
    assert not [each for each in started if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    before = parts(answers)
    n_before = sum(counts(answers).values())
    assert 0 < n_before < n_images
    begun = time.monotonic()
    done = subprocess.run([*map(str, command)], env=env, capture_output=True, text=True, timeout=600, cwd=folder)
    assert done.returncode == 0, done.stderr
    print(f"{n_before:,} were kept; the others took {time.monotonic() - begun:.0f} s, with the start of a cluster")
    assert before.items() <= parts(answers).items()
    found = counts(answers)
    assert len(found) == n_images
    assert set(found.values()) == {1}
    assert json.loads(done.stdout)["images"]["evaluated"] == n_images
    require_equal(answers, local_logits(folder / "config.yaml", images))


@pytest.mark.long
def test_a_changed_image_is_computed_again_and_another_backbone_too(cluster, folder, run):
    images, answers = folder / "images", folder / "answers"
    command = ("evaluate", images, "--cluster", "auto", "--answers", answers)
    assert run(*command)[0] == 0
    Image.new("RGB", (40, 40), "red").save(images / "tench" / "00000.jpg")
    assert run(*command)[0] == 0
    found = counts(answers)
    assert found.pop(("tench/00000.jpg", "mine")) == 2  # the row of the former image counts no longer
    assert set(found.values()) == {1}
    write_config(folder, ("mine", "other"))
    status, out, err = run(*command)
    assert status == 0, err
    assert [each["backbone"] for each in json.loads(out)["backbones"]] == ["mine", "other"]
    assert sum(counts(answers).values()) == 2 * N_IMAGES + 1


@pytest.mark.long
def test_a_bucket_is_computed_with_its_answers_in_another_one(cluster, folder, run, s3):
    images = folder / "images"
    names = [path.relative_to(images).as_posix() for path in images.rglob("*.jpg")]
    s3.buckets["photos"] = {f"fish/{name}": (images / name).read_bytes() for name in names}
    command = ("evaluate", "s3://photos/fish", "--cluster", "auto", "--answers", "s3://answers/fish")
    status, out, err = run(*command, "--out", folder / "report")
    assert status == 0, err
    local = json.loads(run("evaluate", images)[1])
    assert scores(json.loads(out)) == scores(local)
    assert (folder / "report" / "report.html").is_file()
    written = dict(s3.buckets["answers"])
    assert any(name.endswith(".parquet") for name in written)
    s3.requests.clear()
    assert run(*command)[0] == 0
    assert s3.buckets["answers"] == written
    read = [key for method, key in s3.requests if method == "GET" and key.endswith(".jpg")]
    assert len(read) <= 5  # for the latency


@pytest.mark.long
def test_a_classifier_is_trained_as_on_one_machine(cluster, folder, run):
    images = folder / "images"
    command = ("train", images, "--backbones", "mine")
    status, out, err = run(*command, "--cluster", "auto", "--answers", folder / "answers", "--out", folder / "birds")
    assert status == 0, err
    local = json.loads(run(*command)[1])
    ours = json.loads(out)
    for key in ("classes", "advice", "near_duplicates", "doubtful"):
        assert ours.get(key) == local.get(key), key
    assert [each["accuracy"] for each in ours["backbones"]] == [each["accuracy"] for each in local["backbones"]]
    assert (folder / "birds" / "config.json").is_file()
    assert set(counts(folder / "answers").values()) == {1}
    assert {row["kind"] for row in rows(folder / "answers")} == {"appearance", "features"}


@pytest.mark.long
def test_a_zip_file_is_unpacked_and_its_answers_are_found_again(cluster, folder, run):
    import shutil

    zipped = shutil.make_archive(str(folder / "fish"), "zip", folder / "images")
    assert run("evaluate", zipped, "--cluster", "auto")[0] == 0
    (kept,) = parts(folder / "cache")
    assert run("evaluate", zipped, "--cluster", "auto")[0] == 0
    assert list(parts(folder / "cache")) == [kept]


@pytest.mark.long
def test_a_backbone_that_cannot_be_loaded_is_left_out(cluster, folder, run):
    write_config(folder, ("mine", "other"))
    config = json.loads((folder / "config.yaml").read_text())
    config["backbones"][0]["checkpoint"] = "none.pth"
    (folder / "config.yaml").write_text(json.dumps(config))
    status, out, err = run("evaluate", folder / "images", "--cluster", "auto", "--answers", folder / "answers")
    report = json.loads(out)
    assert [each["backbone"] for each in report["backbones"]] == ["other"]
    assert "none.pth does not exist" in report["left_out"]["mine"]
    assert status == 0, err


@pytest.mark.long
def test_what_cannot_be_read_is_told(cluster, folder, run, s3, monkeypatch):
    evaluate = ("evaluate", "--cluster", "auto")
    assert "there is no such folder" in run(*evaluate, folder / "none")[2]
    (folder / "empty").mkdir()
    assert "expected images; it has none" in run(*evaluate, folder / "empty")[2]
    (folder / "bad" / "a").mkdir(parents=True)
    (folder / "bad" / "a" / "1.jpg").write_bytes(b"no image")
    status, _, err = run(*evaluate, folder / "bad")
    assert status == 2
    assert "bad: expected images; it has only a/1.jpg: this file is not one that can be read" in err
    assert "there is no such bucket" in run(*evaluate, "s3://none/x")[2]
    assert "expected a split called 'test'" in run(*evaluate, folder / "images", "--split", "test")[2]


def test_a_cluster_that_is_not_there_is_told(folder, run, monkeypatch):
    folder_cluster.require_ray()
    import ray

    def refuse(address, **_):
        raise ConnectionError(f"Could not find any running Ray instance at {address}.\nMore")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    status, _, err = run("evaluate", folder / "images", "--cluster", "127.0.0.1:9")
    assert status == 2
    assert "error: --cluster 127.0.0.1:9: expected a Ray cluster: auto, host:port or ray://host:port; Could not" in err


@pytest.mark.parametrize(
    ("problem", "addresses"),
    [
        ("Could not find any running Ray instance. Please specify one.", ["auto", "local"]),
        ("Failed to connect to Ray cluster at 10.0.0.1:6379", ["auto"]),
    ],
)
def test_auto_starts_a_cluster_only_if_none_runs(monkeypatch, problem, addresses):
    folder_cluster.require_ray()
    import ray

    asked = []

    def init(address, **_):
        asked.append(address)
        if address == "auto":
            raise ConnectionError(problem)

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    refused = pytest.raises(LineupError, match="Failed to connect") if len(addresses) == 1 else nullcontext()
    with refused, folder_pass.connected("auto"):
        pass
    assert asked == addresses


def test_without_ray_the_command_says_what_to_install(folder, run, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    status, _, err = run("evaluate", folder / "images", "--cluster", "auto")
    assert status == 2
    assert "error: --cluster: expected Ray; it is not installed; pip install -r requirements-cluster.txt" in err


def test_answers_that_cannot_be_kept_are_told_before_anything_is_computed(folder, run):
    folder_cluster.require_ray()
    evaluate = ("evaluate", folder / "images", "--cluster", "auto", "--answers")  # fails before it connects
    assert (
        "s3://gone/x: expected a folder that s3 can list; there is no such bucket" in run(*evaluate, "s3://gone/x")[2]
    )
    (folder / "file").touch()
    status, _, err = run(*evaluate, folder / "file" / "answers")
    assert status == 2
    assert "Not a directory" in err


def test_a_machine_that_computes_otherwise_is_refused(folder):
    from lineup import config

    settings = config.load(folder / "config.yaml")
    task = folder_actor.Task(settings, settings.backbones[0], "logits", str(folder / "images"))
    table = folder_actor.FolderActor(task, "another")(None)
    assert "expected machines that compute the same" in str(folder_actor.failure(table))
