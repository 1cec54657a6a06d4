"""Rows of the comparison table, and the Pareto front of its plot."""

import random

import pytest
from rendering import classification

from lineup.analysis.comparison import row
from lineup.analysis.pareto import pareto_front
from lineup.errors import BackboneError
from lineup.registry import published
from lineup.results import BackboneStatus, LatencyStats

IDLE = BackboneStatus("resnet18", "timm", "idle")


def test_unknown_values_are_none():
    values = row(IDLE, None).to_json()
    assert values.pop("backbone") == "resnet18"
    assert set(values.values()) == {None}
    assert list(published.FIGURES) == [key for key in values if key in published.FIGURES]
    assert values.keys() >= {"label", "median_ms", "license", "error", *published.FIGURES}


def test_row_has_prediction_latency_and_published_figures():
    figures = {"imagenet_top1": 71.504, "gmacs": 1.82}
    known = {"parameters": 11_689_512, "download_bytes": 46_800_000, "license": "apache-2.0", "figures": figures}
    values = row(
        BackboneStatus("resnet18", "timm", "ready", **known), LatencyStats(3, 25.12345, 20.0), classification()
    ).to_json()
    assert {key: value for key, value in values.items() if value is not None} == {
        "backbone": "resnet18",
        "label": "jay",
        "id": "n0",
        "probability": 0.9,
        "last_ms": 25.123,
        "median_ms": 20.0,
        "runs": 3,
        "parameters": 11_689_512,
        "input_size": "256 × 224",
        "imagenet_top1": 71.504,
        "gmacs": 1.82,
        "license": "apache-2.0",
        "download_bytes": 46_800_000,
    }


def test_row_of_a_failed_backbone_has_only_its_error():
    values = row(IDLE, None, BackboneError("", "", "resnet18: it is broken")).to_json()
    known = {key: value for key, value in values.items() if value is not None}
    assert known == {"backbone": "resnet18", "error": "resnet18: it is broken"}


def test_all_rows_have_the_same_columns():
    rows = [
        row(IDLE, None),
        row(IDLE, LatencyStats(1, 2, 3), classification()),
        row(IDLE, None, BackboneError("", "", "no")),
    ]
    assert len({tuple(comparison_row.to_json()) for comparison_row in rows}) == 1


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([], []),
        ([(9, 70)], [0]),
        ([(1, 70), (3, 75), (2, 80)], [0, 2]),
        ([(3, 90), (2, 80), (1, 70)], [2, 1, 0]),  # sorted by cost
        ([(1, 70), (1, 80)], [1]),  # same cost, higher accuracy
        ([(2, 70), (1, 70)], [1]),  # same accuracy, lower cost
        ([(1, 70), (2, 80), (1, 70)], [0, 2, 1]),  # equal points do not dominate each other
        ([(1, 70), (2, 60), (2, 60)], [0]),
    ],
)
def test_pareto_front(points, front):
    assert pareto_front(points) == front


def test_pareto_front_matches_its_definition():
    rng = random.Random(0)
    for _ in range(200):
        points = [(rng.randint(0, 5), rng.randint(0, 5)) for _ in range(rng.randint(0, 8))]
        dominated = {a for a in points for b in points if b != a and b[0] <= a[0] and b[1] >= a[1]}
        assert sorted(pareto_front(points)) == [index for index, a in enumerate(points) if a not in dominated]
