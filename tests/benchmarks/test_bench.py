import json
import os

import pytest

from benchmarks.bench import FULL, PARTS, QUICK, main
from benchmarks.provenance import BUSY, provenance, warnings


@pytest.mark.slow  # starts every contestant
def test_a_run_of_one_network(tmp_path, capsys):
    main(["--quick", "--only", "demo", "--threads", "1", "--output", str(tmp_path)])
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    (case,) = results["cases"]
    rows = {row["name"]: row for row in case["contestants"]}
    assert {"fast", "reference", "onnx", "eager", "limit-int8"} <= set(rows)
    assert all(row["is_equal"] for row in rows.values() if row["computes"] == "integers")
    assert rows["eager"]["agreement"] > 0.9
    assert rows["fast"]["times_fast"] == 1
    assert {entry["name"] for entry in case["missing"]} >= {"spikingjelly", "snntorch"}
    assert case["title"] in capsys.readouterr().out


def test_unknown_parts_are_refused(capsys):
    with pytest.raises(SystemExit):
        main(["--only", "resnet18"])
    assert "resnet18" in capsys.readouterr().err


def test_a_quick_run_is_part_of_a_full_one():
    assert set(QUICK.parts) < set(FULL.parts) == set(PARTS)
    assert set(QUICK.samples) == set(FULL.samples) == set(PARTS) - {"scaling"}
    assert all(n & (n - 1) == 0 for s in (QUICK, FULL) for n in s.samples.values())


def test_provenance_is_complete():
    facts = provenance(interop=None)
    assert facts["processors"] == len(os.sched_getaffinity(0))
    assert facts["packages"]["numpy"]
    assert facts["packages"]["spikingjelly"] is None
    assert facts["cpu"]
    json.dumps(facts)


def test_a_busy_machine_is_warned_of():
    assert not warnings({"load_at_start": BUSY * 4, "processors": 4})
    (text,) = warnings({"load_at_start": 2.5, "processors": 4})
    assert "load 2.50 on 4 processors" in text
