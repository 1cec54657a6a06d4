"""The plot of published accuracy against the speed measured here, as the chart that the browser is given."""

from lineup.page import plot
from lineup.results import BackboneStatus, Timing
from lineup.standings import row


def ran(name, ms, accuracy=None, parameters=None):
    """Return the row of a backbone whose median pass took `ms`, or that has not run if that is None."""
    published = {"imagenet_top1": accuracy} if accuracy else {}
    status = BackboneStatus(name, "timm", "ready", parameters=parameters, facts=published)
    return row(status, Timing(3, 2 * ms, ms) if ms else None)


def layers(*rows, selected=()) -> dict[str, list[dict]]:
    """Return what each kind of mark is drawn for; names are one kind beside dots, another beside ticks."""
    found = plot.chart(rows, selected).to_dict()["layer"]
    kinds = [layer["mark"]["type"] for layer in found]
    return {f"{kind} {kinds[:place].count(kind)}": found[place]["data"]["values"] for place, kind in enumerate(kinds)}


def names(points) -> list[str]:
    return [point["backbone"] for point in points]


def test_only_what_has_run_is_drawn():
    drawn = layers(ran("a", 10.0, 70.0, 11_700_000), ran("b", None, 80.0))
    dot = {"backbone": "a", "ms": 10.0, "accuracy": 70.0, "parameters": 11.7, "selected": False}
    assert drawn["circle 0"] == drawn["text 0"] == drawn["line 0"] == [dot]
    assert drawn["tick 0"] == drawn["text 1"] == []


def test_nothing_is_drawn_when_nothing_ran():
    assert plot.chart([ran("a", None, 70.0)], []) is None
    assert plot.chart([], []) is None


def test_one_without_a_published_accuracy_is_a_tick_at_its_speed():
    drawn = layers(ran("a", 10.0, 70.0), ran("b", 5.0))
    tick = {"backbone": "b", "ms": 5.0, "accuracy": None, "parameters": 0.0, "selected": False}
    assert drawn["tick 0"] == drawn["text 1"] == [tick]
    assert names(drawn["circle 0"]) == ["a"]


def test_ticks_are_drawn_where_there_are_no_dots():
    drawn = layers(ran("a", 10.0), ran("b", 5.0))
    assert names(drawn.pop("tick 0")) == names(drawn.pop("text 0")) == ["a", "b"]
    assert drawn == {}


def test_a_line_joins_those_that_no_other_beats_from_fast_to_slow():
    rows = [ran("slow", 30.0, 80.0), ran("beaten", 20.0, 69.0), ran("fast", 10.0, 70.0), ran("unpublished", 1.0)]
    drawn = layers(*rows)
    assert names(drawn["line 0"]) == ["fast", "slow"]
    assert names(drawn["circle 0"]) == ["slow", "beaten", "fast"]


def test_those_on_the_page_are_marked():
    drawn = layers(ran("a", 10.0, 70.0), ran("b", 5.0, 60.0), ran("c", 5.0), selected=["c", "a"])
    points = drawn["circle 0"] + drawn["tick 0"]
    assert {point["backbone"]: point["selected"] for point in points} == {"a": True, "b": False, "c": True}


def test_the_chart_leads_nowhere_else():
    chart = plot.chart([ran("a", 10.0, 70.0)], []).to_dict()
    assert chart["usermeta"] == {"embedOptions": {"actions": False}}
