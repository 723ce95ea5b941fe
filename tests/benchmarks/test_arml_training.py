import json
from dataclasses import asdict

from benchmarks.arml_training import renew_mnist
from benchmarks.output import Row


def test_mnist_is_renewed_from_its_run_and_the_rest_is_kept(tmp_path):
    rows = [Row("ARML training, usps, per epoch", "1 s"), Row("ARML training, mnist, 9 epochs", "99 min")]
    old = {"machine": {"cpu": "old"}, "rows": [asdict(row) for row in rows], "measurements": [{"dataset": "usps"}]}
    (tmp_path / "arml_training.json").write_text(json.dumps(old))
    run = tmp_path / "runs" / "metrics" / "mnist-arml-1"
    run.mkdir(parents=True)
    (run / "metric.npz").touch()
    record = {
        "metric": {"fit_report": {"seconds": 7200.0, "device": "cpu", "n_iter": 1000}},
        "provenance": {"peak_memory_mib": 1000.0, "threads": 2, "created": "2026-01-01T00:00:00"},
    }
    (run / "metric.json").write_text(json.dumps(record))
    renew_mnist(tmp_path, tmp_path / "runs")
    new = json.loads((tmp_path / "arml_training.json").read_text())
    assert new["machine"] == {"cpu": "old"}
    assert [row["ours"] for row in new["rows"]] == ["1 s", "120.0 min", "1000 MiB"]
    assert [row["met"] for row in new["rows"]] == [None, False, True]
    assert [each["dataset"] for each in new["measurements"]] == ["usps", "mnist"]
