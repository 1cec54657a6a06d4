import csv
import subprocess
import sys
from math import isfinite
from pathlib import Path

import pytest

from lineup.registry import published

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "lineup" / "registry" / "published.csv"
PUBLISHED = {
    ("resnet18.a1_in1k", 224): (71.504, 90.086, 79.45, 59.32, 2.44, 35.033, 24.072, 1.82),
    ("resnet18.a1_in1k", 288): (73.164, 91.054, 81.047, 61.6, 3.813, 34.05, 23.074, 3.01),
    ("resnet18.a3_in1k", 160): (65.67, 86.268, 73.634, 52.87, 1.387, 31.587, 19.7, 0.93),
    ("vit_base_patch16_224.augreg2_in21k_ft_in1k", 224): (85.108, 97.53, 89.457, 75.32, 49.733, 59.223, 45.106, 17.58),
    ("eva_giant_patch14_336.clip_ft_in1k", 336): (89.462, 98.828, 91.078, 82.18, 85.107, 90.517, 71.2, 620.64),
}


def table():
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(line for line in file if not line.startswith("#")))


@pytest.mark.parametrize(("model", "size"), PUBLISHED)
def test_tag_has_the_figures_published_at_that_size(model, size):
    assert published.published(model, (size, size)) == dict(zip(published.FIGURES, PUBLISHED[model, size], strict=True))


def test_figures_are_in_the_order_of_their_headings():
    assert list(published.published("resnet18.a1_in1k", (224, 224))) == list(published.FIGURES)


def test_unpublished_figure_is_omitted():
    """ImageNet-A is made of images that this one gets wrong, so it is not ranked there."""
    assert published.FIGURES.keys() - published.published("resnet50.tv_in1k", (224, 224)).keys() == {"a_top1"}


def test_size_without_figures_is_not_interpolated():
    assert published.published("resnet18.a1_in1k", (256, 256)) == {}


@pytest.mark.parametrize("size", [(224, 288), (288, 224)])
def test_non_square_input_has_no_figures(size):
    assert published.published("resnet18.a1_in1k", size) == {}


@pytest.mark.parametrize("model", ["resnet18", "resnet18.mine", "resnet18.a1_in1k.mine"])
def test_unpublished_tag_has_only_gmacs_of_the_architecture(model):
    assert published.published(model, (224, 224)) == {"gmacs": 1.82}


@pytest.mark.parametrize(
    "model", ["", ".a1_in1k", "model", "my_net.a1_in1k", "hf-hub:me/resnet18.a1_in1k", "# Figures"]
)
def test_unknown_name_has_no_figures(model):
    assert published.published(model, (224, 224)) == {}


def test_size_without_accuracies_still_has_gmacs():
    assert published.published("resnet18.tv_in1k", (288, 288)) == {"gmacs": 3.01}


@pytest.mark.parametrize(("model", "gmacs"), [("mobileone_s0", 1.09), ("repvgg_a0", 1.52), ("ghostnetv3_100", None)])
def test_gmacs_are_those_of_the_unfused_network(model, gmacs):
    assert published.published(model, (224, 224)).get("gmacs") == gmacs


def test_returned_figures_are_a_copy():
    published.published("resnet18", (224, 224))["gmacs"] = 0.0
    published.published("resnet18.a1_in1k", (224, 224))["imagenet_top1"] = 0.0
    assert published.published("resnet18.a1_in1k", (224, 224))["imagenet_top1"] == 71.504
    assert published.published("resnet18", (224, 224)) == {"gmacs": 1.82}


def test_table_starts_with_its_source_and_the_figure_keys():
    assert TABLE.read_text(encoding="utf-8").startswith(f"# {published.SOURCE}\n")
    assert "https://github.com/huggingface/pytorch-image-models" in published.SOURCE
    assert table()[0] == ["model", "size_px", *published.FIGURES]


def test_table_has_unique_models_and_sizes():
    keys = [tuple(row[:2]) for row in table()[1:]]
    assert len(keys) == len(set(keys)) == 3176


def test_table_values_are_plausible():
    for model, size, *accuracies, gmacs in table()[1:]:
        assert size.isdecimal()
        assert 64 <= int(size) <= 1024, model
        numbers = [float(text) for text in accuracies if text]
        assert all(isfinite(number) and 1 < number < 99.5 for number in numbers), model
        if "." in model:
            assert len(numbers) >= 6, model
            assert 40 < numbers[0] < numbers[1], model
            assert gmacs == ""
        else:
            assert numbers == []
            assert 0 < float(gmacs) < 3000, model


def test_nearly_every_model_with_accuracies_has_gmacs():
    tagged = [(row[0], int(row[1])) for row in table()[1:] if "." in row[0]]
    without = {model.split(".")[0] for model, size in tagged if "gmacs" not in published.published(model, (size, size))}
    assert without == {"ghostnetv3_100", "shvit_s1", "shvit_s2", "shvit_s3", "shvit_s4"}


def test_table_stays_below_200_kb():
    assert TABLE.stat().st_size < 200_000


ACCURACY_FILES = ["imagenet", "imagenet-real", "imagenetv2-matched-frequency", "imagenet-a", "imagenet-r", "sketch"]
COST_FILES = ["fp32-nchw-pt240-cpu-i7_12700h-dynamo", "amp-nchw-pt291-cu128-4090"]


def results(number):
    """Write a file of accuracies as timm does: the first one holds 71.0 where the second holds 71.001."""
    rows = [f'big.a,448,9{number}.000,1.000,99.500,0.500,"1,013.01"', f"net.a,224,71.00{number},29,90.100,9.9,11.69"]
    if number == 3:
        rows = [*rows[1:], "untrained.b,224,0.480,99.520,2.320,97.680,30.02"]
    return "\n".join(["model,img_size,top1,top1_err,top5,top5_err,param_count", *rows, ""])


def costs(*rows):
    header = "model,infer_img_size,infer_samples_per_sec,infer_step_time,infer_batch_size,param_count,infer_gmacs"
    return "\n".join([header, *(f"{model},{size},1,1,1,1,{gmacs}" for model, size, gmacs in rows), ""])


def test_script_joins_raw_files_by_name_and_size(tmp_path):
    for number, name in enumerate(ACCURACY_FILES):
        (tmp_path / f"results-{name}.csv").write_text(results(number))
    older, newer = (tmp_path / f"benchmark-infer-{name}.csv" for name in COST_FILES)
    older.write_text(costs(("net", 224, "1.82"), ("fused", 224, "1.09"), ("mended", 224, "5.24")))
    newer.write_text(
        costs(
            *[("net", 224, "1.82"), ("fused", 224, "0.28"), ("mended", 224, "5.25"), ("untrained", 224, "5.96")],
            *[("net", 288, "3.00"), ("big", 448, '"1,367.03"'), ("ghostnetv3_100", 224, "0.17")],
        )
    )
    trimmed = tmp_path / "trimmed.csv"
    command = [sys.executable, ROOT / "tools" / "published_figures.py", tmp_path, "--to", trimmed]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{trimmed}: 8 rows, {trimmed.stat().st_size} bytes\n"
    assert trimmed.read_text() == (
        f"# {published.SOURCE}\n"
        "model,size_px,imagenet_top1,imagenet_top5,real_top1,v2_top1,a_top1,r_top1,sketch_top1,gmacs\n"
        "big,448,,,,,,,,1367.03\n"
        "big.a,448,90,99.5,91,92,,94,95,\n"
        "fused,224,,,,,,,,1.09\n"
        "mended,224,,,,,,,,5.25\n"
        "net,224,,,,,,,,1.82\n"
        "net,288,,,,,,,,3\n"
        "net.a,224,71,90.1,71.001,71.002,71.003,71.004,71.005,\n"
        "untrained,224,,,,,,,,5.96\n"
    )
