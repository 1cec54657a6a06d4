from dataclasses import replace
from pathlib import Path

import pytest
import scaling
from scaling import Assumed, Figures, document, front_per_s, need

DOCUMENT = Path(__file__).parents[2] / "docs" / "scaling.md"
FIGURES = Figures(replica_ms=70, front_ms=7, broker_ms=3.5, image_kb=200, replica_mb=500)
ASSUMED = Assumed(price_per_core_hour=0.1, utilisation=0.7, cores_per_node=8)


def test_table_of_the_document_is_what_the_script_calculates(capsys):
    scaling.main([])
    content = DOCUMENT.read_text(encoding="utf-8")
    assert document(content, capsys.readouterr().out.strip()) == content, "run python benchmarks/scaling.py --write"


def test_rate_needs_the_replicas_fronts_and_bytes_that_it_takes():
    found = need(1000, FIGURES, ASSUMED)
    assert front_per_s(FIGURES, ASSUMED) == pytest.approx(100)
    assert (found.replicas, found.fronts, found.cores, found.nodes) == (100, 10, 121, 16)
    assert (found.memory_gb, found.mb_per_s) == (50, 200)
    assert found.per_month == pytest.approx(121 * 0.1 * 730)
    assert found.per_million == pytest.approx(121 * 0.1 / 3.6)


def test_smallest_cluster_has_a_replica_a_front_and_a_head():
    found = need(0.1, FIGURES, ASSUMED)
    assert (found.replicas, found.fronts, found.cores, found.nodes) == (1, 1, 4, 1)


def test_broker_limits_a_front_whose_broker_takes_longer():
    assert front_per_s(replace(FIGURES, broker_ms=14), ASSUMED) == pytest.approx(50)


def test_arguments_replace_measured_figures(capsys):
    arguments = (
        "--ms-per-answer 70 --front-ms 7 --broker-ms 3.5 --image-kb 200 --replica-mb 500 --price-per-core-hour 0.1"
    )
    scaling.main([*arguments.split(), "--cores-per-node", "8", "--per-second", "1000"])
    assert "| 1,000 | 100 | 10 | 121 | 16 | 50.0 GB | 200.0 MB/s | 8,833 | 3.36 |" in capsys.readouterr().out


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "much"])
def test_figures_that_are_no_positive_numbers_are_refused(value, capsys):
    with pytest.raises(SystemExit):
        scaling.main(["--ms-per-answer", value])
    assert "--ms-per-answer" in capsys.readouterr().err


def test_line_of_the_measured_figures_is_read_back(tmp_path, monkeypatch):
    measured = tmp_path / "CLUSTER.md"
    monkeypatch.setattr(scaling, "MEASURED", measured)
    with pytest.raises(SystemExit, match="run python benchmarks"):
        scaling.measured()
    measured.write_text(f"# Answers\n\n{FIGURES.as_line()}\n")
    assert scaling.measured() == FIGURES
