import json
import subprocess
import sys

from benchmarks.placement import placements
from benchmarks.worker import ROOT


def test_every_chip_and_strategy_is_measured(demo):
    found = placements(demo.network(), rounds=2)
    assert [(row["target"], row["strategy"]) for row in found] == [
        ("loihi1", "compact"),
        ("loihi1", "low-traffic"),
        ("loihi2", "compact"),
        ("loihi2", "low-traffic"),
    ]
    assert all(row["cores"] >= row["chips"] >= 1 and row["seconds"] > 0 for row in found)


def test_it_runs_in_a_process_of_its_own(demo):
    command = [sys.executable, "-m", "benchmarks.placement", str(demo.folder), "1"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert len(json.loads(result.stdout)["placements"]) == 4
