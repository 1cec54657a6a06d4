"""Measures trainings: their accuracy beside scikit-learn by hand, the saved numbers, leakage, and the time.

Without `--images`, the images are random crops of the examples, in three classes of four photographs each; those of
one photograph are one group, so that each is tested by heads that have not seen it. Writes TRAINING.md:

    python benchmarks/training.py                      # 400 images, two bundled backbones: about 3 minutes
    python benchmarks/training.py --images FOLDER      # a sub-folder for each class; prints only
"""

import argparse
import json
import os
import sys
import tempfile
import time
from contextlib import nullcontext
from datetime import date
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE)]
os.environ.setdefault("LINEUP_CACHE", tempfile.mkdtemp(prefix="lineup-benchmark-"))

from bench import machine, table
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lineup import config
from lineup.analysis import heads
from lineup.config import yaml_source
from lineup.features.training.run import Trainings
from lineup.images import image_set
from lineup.images.image_set import ImageSet
from lineup.inference import batches
from lineup.service import Service

CLASSES = {
    "bears": ("giant_panda", "koala", "polar_bear", "red_panda"),
    "birds": ("hen", "kingfisher", "macaw", "owl"),
    "things": ("castle", "coffee", "stupa", "viaduct"),
}
NAMES = ("efficientnet_lite0", "efficientnet_lite2")
N_IMAGES, SIZE_PX, SLICE_S = 400, (500, 375), 1.0
MAX_POINTS, MAX_DIFFERENCE, MAX_RATIO = 2.0, 1e-5, 1.3
ROUNDS = 7


def main() -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, help="a folder with a sub-folder for each class")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of the times (default: {ROUNDS})")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lineup-") as name:
        folder = Path(name)
        place = arguments.images or crops(folder / "images")
        images = image_set.collect(place)
        parts = [head(images), accuracy(images, folder), saved(images, folder), leakage(images, folder)]
        parts.append(times(images, place, folder, arguments.rounds))
    text = "\n\n".join(parts) + "\n"
    print(text)
    if not arguments.images:
        (HERE / "TRAINING.md").write_text(text, encoding="utf-8")


def head(images: ImageSet) -> str:
    load = os.getloadavg()[0]
    return (
        f"# Trainings, measured\n\nWritten by `python benchmarks/training.py`, {date.today()}; load average at the "
        f"start {load:.1f}. {machine()}\n\n{len(images.images)} images of {len(images.labels)} classes: "
        f"random crops of {SIZE_PX[0]} × {SIZE_PX[1]} pixels of the 12 examples, each photograph a group."
    )


def crops(folder: Path) -> Path:
    """Write random crops of the examples, and the group of each."""
    draw, rows = np.random.default_rng(0), []
    sources = [(label, name) for label, names in CLASSES.items() for name in names]
    for index in range(N_IMAGES):
        label, name = sources[index % len(sources)]
        image = Image.open(ROOT / "examples" / f"{name}.jpg").convert("RGB")
        share = draw.uniform(0.4, 0.9)
        width, height = (round(share * side) for side in image.size)
        left, top = draw.integers(image.width - width + 1), draw.integers(image.height - height + 1)
        path = folder / label / f"{index}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.crop((left, top, left + width, top + height)).resize(SIZE_PX).save(path, quality=90)
        rows.append(json.dumps({"file_name": f"{label}/{index}.jpg", "label": label, "group": name}))
    (folder / "metadata.jsonl").write_text("\n".join(rows))
    return folder


def service(engine: str = "openvino", precision: str = "float32", saved_at: Path | None = None) -> Service:
    """Return a service with the bundled backbones, or with saved folders in their places."""
    entries = [f'{{name: {name}, backbone: "local-dir:{(saved_at or ROOT / "bundled") / name}"}}' for name in NAMES]
    text = f"backbones: [{', '.join(entries)}]\nengine: {engine}\nprecision: {precision}"
    return Service(config.build(yaml_source.parse(text, "config.yaml"), ROOT))


def trained(images: ImageSet, folder: Path, of: Service) -> tuple[Trainings, str]:
    trainings = Trainings(of, folder / "jobs", SLICE_S)
    training = trainings.create(images, NAMES)
    status = trainings.run(training)
    assert status.state == "done", status.problem
    return trainings, training


def features(images: ImageSet, of: Service, name: str, output: str = "features") -> np.ndarray:
    """Return the features, or logits, of all images, computed without a store."""
    with of.pinned(name, output) as backbone:
        paths = [image.path for image in images.images]
        return np.concatenate([each.outputs for each in batches.compute(backbone, paths, nullcontext, SLICE_S)])


def accuracy(images: ImageSet, folder: Path) -> str:
    """Compare the accuracy out of fold with that of scikit-learn's cross-validation of a pipeline."""
    of, rows = service(), []
    trainings, training = trained(images, folder, of)
    report = trainings.report(training)
    for each in report.backbones:
        model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=5000))
        folds = StratifiedGroupKFold(heads.MAX_FOLDS if each.method == heads.REGRESSION else 3)
        x = features(images, of, each.name)
        by_hand = cross_val_predict(model, x, report.truth, groups=report.groups, cv=folds)
        share = float((by_hand == report.truth).mean())
        points = 100 * ((each.accuracy.share or 0) - share)
        met = f"≥ −{MAX_POINTS:g}: {'met' if points >= -MAX_POINTS else '**missed**'}"
        rows.append([each.name, each.accuracy.text, f"{share:.1%}", f"{points:+.1f}", met])
    columns = ["", "Lineup, by cross-validation", "scikit-learn by hand", "points", ""]
    intro = (
        "By hand: `StandardScaler`, `LogisticRegression` with C = 1, and `StratifiedGroupKFold` with the same groups."
    )
    return f"## Accuracy\n\n{intro}\n\n{table(columns, rows)}"


def saved(images: ImageSet, folder: Path) -> str:
    """Compare the probabilities of saved folders with those of scikit-learn on the same features."""
    rows = []
    for engine in ("torch", "openvino"):
        of, place = service(engine), folder / engine
        trainings, training = trained(images, folder, of)
        truth = trainings.report(training).truth
        place.mkdir()
        for name in NAMES:
            trainings.save(training, name, place / name)
            fitted = trainings.head(training, name)
            x = features(images, of, name).astype(np.float64)
            variance = x.var(axis=0)
            z = (x - x.mean(axis=0)) / np.sqrt(variance + variance.mean())
            if fitted.method == heads.REGRESSION:
                model = LogisticRegression(
                    C=fitted.regularization, class_weight="balanced", max_iter=10_000, tol=1e-9, solver="newton-cg"
                )
                logits = model.fit(z, truth).decision_function(z)
                logits = np.stack([-logits / 2, logits / 2], axis=1) if logits.ndim == 1 else logits
                expected = heads.softmax(logits / fitted.temperature)
            else:
                expected = fitted.probabilities(x)
            served = heads.softmax(features(images, service(engine, saved_at=place), name, "classes"))
            difference = float(np.abs(served - expected).max())
            met = f"≤ {MAX_DIFFERENCE:g}: {'met' if difference <= MAX_DIFFERENCE else '**missed**'}"
            rows.append([name, engine, f"{difference:.1e}", met])
    intro = "The largest difference of a probability from scikit-learn's with the same C and temperature, in float32."
    return f"## Saved folders\n\n{intro}\n\n{table(['', 'engine', 'difference', ''], rows)}"


def leakage(images: ImageSet, folder: Path) -> str:
    """Train on shuffled labels, which nothing can tell better than chance."""
    of, rows = service(), []
    trainings, training = trained(images, folder, of)
    report = trainings.report(training)
    for name in NAMES:
        x, rights, n = features(images, of, name), 0, 0
        for seed in range(3):
            truth = np.random.default_rng(seed).permutation(report.truth)
            # each image a group of its own: with their groups, crops of a photograph would tell nothing to begin with
            found = heads.cross_validated(x, truth, np.arange(len(x)), len(report.classes))
            rights, n = rights + int((found.probabilities.argmax(axis=1) == truth).sum()), n + len(x)
        chance = sum((np.bincount(report.truth) / len(x)) ** 2)
        low, high = chance - 3 * np.sqrt(chance * (1 - chance) / n), chance + 3 * np.sqrt(chance * (1 - chance) / n)
        met = "met" if low <= rights / n <= high else "**missed**"
        rows.append([name, f"{rights / n:.1%}", f"{chance:.1%} ({low:.1%} to {high:.1%})", met])
    return f"## Shuffled labels\n\n{table(['', 'accuracy', 'chance, ± 3 standard errors', ''], rows)}"


def times(images: ImageSet, place: Path, folder: Path, rounds: int) -> str:
    """Compare the time from a folder to the saved head with that of decoding and forward passes, in turns."""
    of, rows = service(precision="auto"), []
    for name in NAMES:  # convert and load
        features(images, of, name)
    for turn in range(rounds):
        begun = time.perf_counter()
        for name in NAMES:
            features(images, of, name)
        alone_s, begun = time.perf_counter() - begun, time.perf_counter()
        os.environ["LINEUP_CACHE"] = tempfile.mkdtemp(prefix="lineup-benchmark-")  # nothing is stored
        trainings, training = trained(image_set.collect(place), folder, of)
        trainings.save(training, trainings.report(training).best.name, folder / f"saved-{turn}")
        rows.append(
            (alone_s, time.perf_counter() - begun, sum(each.fit_s for each in trainings.report(training).backbones))
        )
    alone_s, whole_s, fit_s = np.median(np.array(rows), axis=0)
    ratio = float(np.median([whole / alone for alone, whole, _ in rows]))
    met = f"≤ {MAX_RATIO}: {'met' if ratio <= MAX_RATIO else '**missed**'}"
    row = [f"{alone_s:.1f}", f"{whole_s:.1f}", f"{fit_s:.1f}", f"{ratio:.2f}", met]
    columns = ["decoding and forward passes, s", "folder to saved head, s", "of which fits, s", "times", ""]
    return f"## Time\n\nBoth backbones on all images; medians of {rounds} turns.\n\n{table(columns, [row])}"


if __name__ == "__main__":
    main()
