"""How the benchmark of the HTTP API turns measurements into ratios, with the measuring itself replaced."""

from pathlib import Path

import pytest
import rest
from http_servers import LINEUP, Server

LARGER, SMALLER = rest.LARGER, rest.SMALLER
STEPS = {"decode": 4.0, "transform": 1.0, "forward": 15.0, "per_s": 100.0}
RATES = {  # of each round, the larger images first
    (LINEUP, "as installed"): [(40, 80), (44, 90), (20, 50)],
    ("LitServe", "1 worker"): [(20, 40), (44, 30), None],
    ("LitServe", "2 workers"): [(10, 80), (22, 60), None],
}


class Bench(rest.Bench):
    """Measures nothing: each round's figures are those of RATES."""

    def __init__(self, home):
        self.rounds = dict.fromkeys(RATES, 0)
        super().__init__(home, rest.Effort(rounds=3), without=["BentoML", "Ray Serve"])

    def _measure(self, server, at_rate=False):
        key = server.name, server.settings
        number = self.rounds[key]
        self.rounds[key] += 1
        figures = self.found.servers.setdefault(key, rest.Figures())
        if RATES[key][number] is None:
            raise RuntimeError("it has not answered")
        for size, per_s in zip(rest.SIZES, RATES[key][number], strict=True):
            figures.per_s[size].append(per_s)
            figures.p50_ms[size].append(22.0 + number)
        figures.own_per_s.append(RATES[key][number][0])
        return figures

    def _empty_ms(self):
        return 110.0

    def _crowd(self):
        counts = {"answered": 610, "of_page": 390, "share": 0.61, "refused": 7, "lost": 0}
        times = {"refused_s": 0.02, "slowest_refused_s": 0.04, "answered_s": 9.0, "healthz_s": 0.3}
        self.found.crowd = {**counts, **times}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    servers = [Server(*key, ("true",), Path()) for key in RATES if key[0] != LINEUP]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rest, "run_inside", lambda kind, *_: {} if kind == "export" else STEPS)
        patch.setattr(rest, "write_config", lambda home, *_: home / "config.yaml")
        patch.setattr(rest, "environment", lambda name, folder: Path("python"))
        patch.setattr(rest, "peers", lambda *_: servers)
        patch.setattr(rest, "benchmark_app", lambda model: 50.0)
        yield Bench(tmp_path_factory.mktemp("bench")).run()


def test_rates_are_relative_to_the_better_settings_of_a_peer_in_the_same_round(found):
    assert found.ratios[f"per_s {LARGER} LitServe"] == [40 / 20, 44 / 44]  # it failed in the third round
    assert found.ratios[f"per_s {SMALLER} LitServe"] == [80 / 80, 90 / 60]
    assert found.problems == {"LitServe": "it has not answered"}


def test_the_limit_is_that_of_both_stages_on_the_same_cores(found):
    together = 1 / (1 / 100 + 1 / 50)  # decoding and transform, then benchmark_app
    assert found.ratios["per_s limit"] == pytest.approx([40 / together, 44 / together, 20 / together])


def test_latencies_are_relative_to_the_steps_and_to_an_empty_function(found):
    assert found.ratios["p50 empty"] == pytest.approx([22 / 110, 23 / 110, 24 / 110])
    assert found.ratios[f"p50 {LARGER} steps"] == pytest.approx([22 / 20, 23 / 20, 24 / 20])


def test_the_report_has_medians_and_says_what_is_missed_or_not_measured(found):
    rows = {subject: cells for subject, *cells in rest.targets(found)}
    assert rows[f"answers per second, 16 clients, {LARGER}, relative to LitServe"] == ["1.50", "≥ 1", "met"]
    assert rows[f"answers per second, 16 clients, {LARGER}, relative to BentoML"] == ["-", "≥ 1", "not measured"]
    assert rows[f"p50 of one answer, {LARGER}, relative to an empty Gradio function"] == ["0.21", "≤ 0.4", "met"]
    assert rows["/healthz p99"] == ["0.300 s", "≤ 0.2", "**missed**"]
    assert rows["share of the answers below /v1, at least"][2] == "met"
    assert rows["the same, at most"] == ["0.61", "≤ 0.6", "**missed**"]
    assert "Not measured: LitServe: it has not answered" in rest.report(found, rest.Effort())


@pytest.mark.parametrize(
    ("measured", "sign", "verdict"),
    [(1.25, "≤", "met"), (1.26, "≤", "**missed**"), (1.25, "≥", "met"), (1.24, "≥", "**missed**")],
)
def test_a_target_is_met_where_it_is_reached(measured, sign, verdict):
    assert rest.row("a", measured, sign, 1.25)[3] == verdict
