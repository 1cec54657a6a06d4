"""The plot of accuracy against latency, as the Vega-Lite spec sent to the browser."""

from lineup.analysis.comparison import row
from lineup.features.benchmark import plot
from lineup.results import BackboneStatus, LatencyStats


def ran(name, ms, accuracy=None, parameters=None):
    """Return the row of a backbone with a median latency of `ms`, or without a run if None."""
    published = {"imagenet_top1": accuracy} if accuracy else {}
    status = BackboneStatus(name, "timm", "ready", parameters=parameters, figures=published)
    return row(status, LatencyStats(3, 2 * ms, ms) if ms else None)


def layers(*rows, selected=()) -> dict[str, list[dict]]:
    """Map the types of marks to their data."""
    points: dict[str, list[dict]] = {}
    for layer in plot.chart(rows, selected).to_dict()["layer"]:
        points.setdefault(layer["mark"]["type"], []).extend(layer["data"]["values"])
    return points


def names(points) -> list[str]:
    return [point["backbone"] for point in points]


def test_only_backbones_with_runs_are_plotted():
    drawn = layers(ran("a", 10.0, 70.0, 11_700_000), ran("b", None, 80.0))
    dot = {"backbone": "a", "ms": 10.0, "accuracy": 70.0, "parameters": 11.7, "selected": False}
    assert names(drawn.pop("text")) == ["a"]
    assert drawn == {"line": [dot], "circle": [dot]}


def test_chart_is_none_without_runs():
    assert plot.chart([ran("a", None, 70.0)], []) is None
    assert plot.chart([], []) is None


def test_backbone_without_accuracy_is_a_tick_at_its_latency():
    drawn = layers(ran("a", 10.0, 70.0), ran("b", 5.0))
    assert drawn["tick"] == [{"backbone": "b", "ms": 5.0, "accuracy": None, "parameters": 0.0, "selected": False}]
    assert names(drawn["circle"]) == ["a"]
    assert sorted(names(drawn["text"])) == ["a", "b"]


def test_ticks_are_plotted_without_any_dots():
    drawn = layers(ran("a", 10.0), ran("b", 5.0))
    assert names(drawn.pop("tick")) == ["a", "b"]
    assert sorted(names(drawn.pop("text"))) == ["a", "b"]
    assert drawn == {}


def test_line_joins_the_pareto_front():
    rows = [ran("slow", 30.0, 80.0), ran("dominated", 20.0, 69.0), ran("fast", 10.0, 70.0), ran("unpublished", 1.0)]
    drawn = layers(*rows)
    assert names(drawn["line"]) == ["fast", "slow"]
    assert names(drawn["circle"]) == ["slow", "dominated", "fast"]


def test_selected_backbones_are_marked():
    drawn = layers(ran("a", 10.0, 70.0), ran("b", 5.0, 60.0), ran("c", 5.0), selected=["c", "a"])
    points = drawn["circle"] + drawn["tick"]
    assert {point["backbone"]: point["selected"] for point in points} == {"a": True, "b": False, "c": True}


def test_chart_has_no_vega_menu():
    chart = plot.chart([ran("a", 10.0, 70.0)], []).to_dict()
    assert chart["usermeta"] == {"embedOptions": {"actions": False, "renderer": "svg"}}


def test_chart_has_its_data_as_text():
    text = plot.chart([ran("a", 10.0, 70.0), ran("b", 2.5, None)], []).to_dict()["description"]
    assert text.endswith("a: 10.0 ms, 70.0%; b: 2.5 ms.")
