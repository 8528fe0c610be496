"""Points that are run: against doing the same by hand, and again after an interruption."""

from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest

from tests.networks import sample_inputs, vectors
from tests.quantize.floats import as_float
from trispike import network as network_package
from trispike.errors import FileFormatError, InvalidDataError, QuantizationError
from trispike.network import FloatNetwork, Network, digest, with_steps
from trispike.quantize import quantize
from trispike.runtime import ReferenceEngine
from trispike.runtime.anytime import confidences, early_exit, exit_energy
from trispike.runtime.data import Data
from trispike.runtime.energy import estimate_energy, load_profile
from trispike.runtime.explore import (
    Explorer,
    Outcome,
    Point,
    explore,
    load_outcomes,
    pareto_front,
    save_outcomes,
)
from trispike.runtime.explore import explorer as explorer_module
from trispike.runtime.explore.explorer import COMPUTING, code_digest, scale_thresholds

PROFILE = load_profile("loihi1")


def unsure() -> FloatNetwork:
    """Logits so small that confidences are far from 1."""
    network = as_float(vectors())
    weights = network.readout.weights * 1e-3
    return replace(network, readout=replace(network.readout, weights=weights))


NETWORK = unsure()
LABELS = np.arange(12) % 3
DATA = Data(sample_inputs(NETWORK, 12), LABELS, "some data")
CALIBRATION = Data(sample_inputs(NETWORK, 8, seed=1), None, "other data")
POINT = Point(weight_bits=6, granularity="channel", steps=4)


def explorer(**changes: Any) -> Explorer:
    settings: dict[str, Any] = {
        "network": NETWORK, "data": DATA, "hardware": PROFILE, "build": ReferenceEngine,
        "calibration": CALIBRATION, **changes,
    }  # fmt: skip
    return Explorer(**settings)


def by_hand(point: Point) -> Network:
    network = scale_thresholds(with_steps(NETWORK, point.steps), dict(point.thresholds))
    assert point.weight_bits is not None
    assert point.granularity is not None
    return quantize(
        network, CALIBRATION.x, weight_bits=point.weight_bits, granularity=point.granularity
    ).network


@pytest.mark.parametrize(
    "point",
    [
        POINT,
        replace(POINT, weight_bits=3, granularity="layer", steps=2),
        replace(POINT, steps=6, thresholds=(("*", 1.5), ("first", tuple([0.5, 2.0] * 6)))),
    ],
)
def test_a_point_is_quantize_simulate_estimate(point):
    outcome = explorer().evaluate(point)
    network = by_hand(point)
    result = ReferenceEngine(network).run(DATA.x, DATA.y)
    priced = estimate_energy(result.ledger, PROFILE)
    assert outcome.network_sha256 == digest(network)
    assert outcome.settings == point.to_dict()
    assert outcome.accuracy == result.accuracy
    assert outcome.mean_steps == point.steps
    assert outcome.synaptic_operations_per_inference == result.ledger.synaptic_operations / 12
    assert outcome.energy_per_inference_joules == priced.energy_per_inference_joules
    assert set(outcome.unpriced) == set(priced.unpriced)
    assert (outcome.engine, outcome.samples, outcome.error) == ("reference", 12, None)
    assert outcome.samples_by_exit_step is None


def test_a_point_with_early_exit():
    network = by_hand(POINT)
    first = np.sort(confidences(network, ReferenceEngine(network).run(DATA.x))[:, 0])
    threshold = float(first[6:8].mean())  # between two that occur
    outcome = explorer().evaluate(replace(POINT, exit_confidence=threshold))
    run = early_exit(network, DATA.x, DATA.y, confidence=threshold, build=ReferenceEngine)
    assert 1 < run.mean_steps < 4
    energy = exit_energy(network, DATA.x, run, PROFILE)
    assert outcome.mean_steps == run.mean_steps
    assert outcome.samples_by_exit_step == run.distribution
    assert outcome.accuracy == run.accuracy
    assert outcome.energy_per_inference_joules == energy.joules
    assert outcome.synaptic_operations_per_inference == run.ledger.synaptic_operations / 12


def test_exits_of_one_network_share_its_run(monkeypatch):
    made: list[int] = []

    def counted(*arguments: Any, **options: Any):
        made.append(1)
        return quantize(*arguments, **options)

    monkeypatch.setattr(explorer_module, "quantize", counted)
    shared = explorer()
    alone = [explorer().evaluate(replace(POINT, exit_confidence=c)) for c in (None, 0.4, 0.6)]
    made.clear()
    together = [shared.evaluate(replace(POINT, exit_confidence=c)) for c in (None, 0.4, 0.6)]
    assert made == [1]
    for a, b in zip(alone, together, strict=True):
        assert replace(a, seconds=None) == replace(b, seconds=None)


def test_an_integer_network_is_only_run():
    network = vectors()
    one = Explorer(network, DATA, PROFILE, ReferenceEngine)
    outcome = one.evaluate(Point(weight_bits=None, granularity=None, steps=2))
    assert outcome.network_sha256 == digest(with_steps(network, 2))
    assert outcome.calibration_sha256 is None


def test_a_point_without_an_integer_form_is_an_outcome(monkeypatch):
    def refuse(*_: Any, **__: Any):
        raise QuantizationError("population 'first'", got="0", expected="more", fix="Do.")

    monkeypatch.setattr(explorer_module, "quantize", refuse)
    outcome = explorer().evaluate(POINT)
    assert outcome.error == "population 'first': got 0; expected more. Do."
    assert outcome.accuracy is None
    assert pareto_front([outcome]) == []


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (Data(DATA.x, None, "d"), "data 'd': got no labels"),
        (Data(DATA.x[:0], LABELS[:0], "d"), "data 'd': got no samples"),
        (Data(DATA.x, LABELS + 1, "d"), "labels: got values from 1 to 3"),
        (Data(DATA.x[:, :5], DATA.y, "d"), "data: got an array of shape"),
    ],
)
def test_bad_data(data, text):
    with pytest.raises(InvalidDataError) as caught:
        explorer(data=data)
    assert text in str(caught.value)


def test_thresholds_are_scaled_in_both_signs():
    scaled = scale_thresholds(NETWORK, {"*": 2.0, "second": tuple(range(1, 13))})
    for name, population in NETWORK.populations.items():
        factor = np.arange(1, 13) if name == "second" else 2.0
        for field in ("th_pos", "th_neg"):
            before = np.broadcast_to(getattr(population.neuron, field), (12,))
            after = np.broadcast_to(getattr(scaled.populations[name].neuron, field), (12,))
            np.testing.assert_array_equal(after, before * factor)
    assert digest(scale_thresholds(NETWORK, {})) == digest(NETWORK)


# ------------------------------------------------------------------------------------ the file

POINTS = [replace(POINT, steps=steps) for steps in (1, 2, 3, 4)]


class Interrupted(Explorer):
    """Ctrl-C at the third point."""

    evaluated = 0

    def evaluate(self, point: Point) -> Outcome:
        self.evaluated += 1
        if self.evaluated == 3:
            raise KeyboardInterrupt
        return super().evaluate(point)


def test_an_interrupted_sweep_goes_on_where_it_stopped(tmp_path, monkeypatch):
    path = tmp_path / "results.jsonl"
    stopped = Interrupted(NETWORK, DATA, PROFILE, ReferenceEngine, calibration=CALIBRATION)
    with pytest.raises(KeyboardInterrupt):
        explore(stopped, POINTS, path)
    first = path.read_text(encoding="utf-8")
    assert first.count("\n") == len(load_outcomes(path)) == 2
    again: list[Point] = []
    evaluate = Explorer.evaluate

    def noted(self: Explorer, point: Point) -> Outcome:
        again.append(point)
        return evaluate(self, point)

    monkeypatch.setattr(Explorer, "evaluate", noted)
    done: list[int] = []
    outcomes = explore(explorer(), POINTS, path, done.append)
    assert again == POINTS[2:]
    assert done == [1] * 4
    assert path.read_text(encoding="utf-8").startswith(first)
    assert [o.settings["steps"] for o in outcomes] == [1, 2, 3, 4]
    # And with nothing left to do, the file stays as it is.
    again.clear()
    content = path.read_bytes()
    repeated = explore(explorer(), POINTS, path)
    assert again == []
    assert path.read_bytes() == content
    assert [o.to_dict()["key"] for o in repeated] == [o.key for o in outcomes]
    assert [o.accuracy for o in repeated] == [o.accuracy for o in outcomes]
    assert list(tmp_path.iterdir()) == [path]


def test_a_point_is_known_by_everything_that_it_depends_on():
    other = unsure()
    cases = [
        explorer(),
        explorer(network=scale_thresholds(other, {"*": 1.1})),
        explorer(data=Data(DATA.x[:11], LABELS[:11], "d")),
        explorer(data=Data(DATA.x, LABELS[::-1].copy(), "d")),
        explorer(calibration=DATA),
        explorer(hardware=load_profile("cmos45-fp32")),
        explorer(assumptions={"graded_operation": 1.0}),
    ]
    keys = [one.key(POINT) for one in cases]
    keys += [cases[0].key(replace(POINT, **c)) for c in (
        {"weight_bits": 5}, {"granularity": "layer"}, {"steps": 3}, {"exit_confidence": 0.5},
        {"thresholds": (("*", 1.1),)},
    )]  # fmt: skip
    assert len(set(keys)) == len(keys) == 12
    # What the data are called, and what runs them, are no part of it.
    assert explorer(data=Data(DATA.x, DATA.y, "renamed"), build=None).key(POINT) == keys[0]


@pytest.mark.parametrize("what", ["version", "code_digest"])
def test_what_another_trispike_found_is_not_taken_over(what, tmp_path, monkeypatch):
    path = tmp_path / "results.jsonl"
    explore(explorer(), POINTS[:1], path)
    (first,) = load_outcomes(path).values()
    assert (first.trispike, first.code_sha256) == (version("trispike"), code_digest())
    monkeypatch.setattr(explorer_module, what, lambda *_: "another")
    (again,) = explore(explorer(), POINTS[:1], path)
    assert again.key != first.key
    assert again.accuracy == first.accuracy
    assert list(load_outcomes(path)) == [first.key, again.key]


def test_the_code_is_that_of_the_packages_that_compute(tmp_path, monkeypatch):
    before = code_digest()
    for package in COMPUTING:
        folder = tmp_path / "trispike" / package
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("", encoding="utf-8")
    monkeypatch.setattr(network_package, "__file__", str(tmp_path / "trispike/network/init.py"))
    found = [code_digest.__wrapped__()]
    (tmp_path / "trispike/runtime/energy.py").write_text("price = 1", encoding="utf-8")
    found.append(code_digest.__wrapped__())
    (tmp_path / "trispike/runtime/energy.py").write_text("price = 2", encoding="utf-8")
    found.append(code_digest.__wrapped__())
    (tmp_path / "trispike/cli.py").write_text("words = 1", encoding="utf-8")
    assert code_digest.__wrapped__() == found[-1]
    assert len({before, *found}) == 4


@pytest.mark.parametrize("text", ["{}\n", "no json\n", "[1]\n", '{"key": "a"}\n', "\n"])
def test_another_file_is_not_touched(text, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(FileFormatError, match=r"line 1: got no outcome of a sweep"):
        explore(explorer(), POINTS, path)
    assert path.read_text(encoding="utf-8") == text


def outcome(accuracy: float, energy: float, key: str = "") -> Outcome:
    return Outcome(
        key=key or f"{accuracy}/{energy}", settings={}, trispike="", code_sha256="",
        source_sha256="", data_sha256="",
        calibration_sha256=None, hardware="", hardware_sha256="", samples=1, engine="",
        accuracy=accuracy, energy_per_inference_joules=energy,
    )  # fmt: skip


def test_the_front_by_definition():
    rng = np.random.default_rng(0)
    for _ in range(20):
        points = [
            outcome(a / 8, e / 8, str(n)) for n, (a, e) in enumerate(rng.integers(1, 9, (12, 2)))
        ]

        def beaten(o: Outcome, points: list[Outcome] = points) -> bool:
            mine = (o.accuracy or 0, -(o.energy_per_inference_joules or 0))
            others = [(p.accuracy or 0, -(p.energy_per_inference_joules or 0)) for p in points]
            return any(t != mine and t[0] >= mine[0] and t[1] >= mine[1] for t in others)

        places = {(o.accuracy, o.energy_per_inference_joules) for o in points if not beaten(o)}
        front = pareto_front(points)
        assert {(o.accuracy, o.energy_per_inference_joules) for o in front} == places
        assert len(front) == len(places)


def test_outcomes_survive_their_file(tmp_path):
    given = [outcome(0.5, 1e-6), replace(outcome(0.25, 2e-6), error="why", unpriced=["x"])]
    save_outcomes(given, tmp_path / "o.jsonl")
    assert list(load_outcomes(tmp_path / "o.jsonl").values()) == [
        replace(o, unpriced=list(o.unpriced)) for o in given
    ]
    assert load_outcomes(tmp_path / "absent.jsonl") == {}
