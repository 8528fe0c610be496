import io
import json
import time

import numpy as np
import pytest

from benchmarks.contestants import CONTESTANTS, Runner, fastest
from benchmarks.worker import Worker, WorkerError, serve
from trispike.runtime.reference import ReferenceEngine


def test_a_contestant_answers_from_its_own_process(demo):
    worker = Worker("reference", demo, samples=3, threads=1)
    try:
        seconds = [worker.run(), worker.run()]
    finally:
        worker.close()
    expected = ReferenceEngine(demo.network()).run(demo.inputs(3)).logits
    np.testing.assert_array_equal(worker.logits, expected)
    assert min(seconds) > 0
    assert worker.memory["peak"] > worker.memory["used"] >= 0
    assert worker._process.returncode == 0


def test_a_contestant_that_cannot_says_why(demo):
    pytest.importorskip("snntorch")
    with pytest.raises(WorkerError, match="snnTorch: got CTSN"):
        Worker("snntorch", demo, samples=1, threads=1)


@pytest.mark.slow  # each starts a process with its library
@pytest.mark.parametrize("name", ["fast", "onnx", "lava", "eager", "limit-int8", "limit-fp32"])
def test_every_contestant_runs_the_demo(demo, name):
    worker = Worker(name, demo, samples=4, threads=1)
    try:
        worker.run()
    finally:
        worker.close()
    expected = ReferenceEngine(demo.network()).run(demo.inputs(4)).logits
    if CONTESTANTS[name].computes == "nothing":
        assert worker.logits is None
        assert worker.facts["macs"] > 0
        return
    assert worker.logits is not None
    if CONTESTANTS[name].computes == "integers":
        np.testing.assert_array_equal(worker.logits, expected)
    else:
        assert (worker.logits.argmax(1) == expected.argmax(1)).mean() >= 0.75


def test_serving_measures_each_run():
    blocks = []

    def run():
        blocks.append(np.ones(32 << 20))  # 256 MiB
        blocks.pop()
        return np.array([[1, 2]])

    out = io.StringIO()
    serve(Runner(run=run, facts={"setting": "x"}), ["run", "run"], out)
    ready, *answers = map(json.loads, out.getvalue().splitlines())
    assert ready == {"setting": "x"}
    assert [answer["logits"] for answer in answers] == [[[1, 2]]] * 2
    # The kernel may take idle pages of this process away meanwhile.
    assert all(128 << 20 <= answer["memory"]["used"] < 512 << 20 for answer in answers)


def test_the_fastest_setting_is_chosen_per_work():
    delays = {"a": 0.012, "b": 0.02, "c": 0.2}
    calls = dict.fromkeys(delays, 0)

    def run(name: str) -> None:
        calls[name] += 1
        time.sleep(delays[name])

    choices = {name: (lambda n=name: run(n)) for name in delays}
    assert fastest(choices) == "a"
    assert calls["c"] == 1  # hopeless
    assert fastest(choices, {"a": 1, "b": 4, "c": 1}) == "b"
