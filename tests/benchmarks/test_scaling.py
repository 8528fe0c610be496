import numpy as np
import pytest

from benchmarks.scaling import Plan, exponents, measure, with_steps
from trispike.runtime.reference import ReferenceEngine


def test_more_steps_go_on_where_fewer_end(demo):
    network, inputs = demo.network(), demo.inputs(3)
    few, many = (ReferenceEngine(with_steps(network, t)).run(inputs) for t in (3, 6))
    np.testing.assert_array_equal(many.step_logits[:, :3], few.step_logits)
    np.testing.assert_array_equal(many.step_logits.sum(1), many.logits)


def test_every_axis_is_measured(demo):
    folder = str(demo.folder)
    plan = Plan(
        case=folder,
        widths={folder: 16},
        rates={folder: 0.3},
        samples=1,
        steps=(1, 2),
        batches=(1, 2),
        rounds=1,
        threads=1,
        engine="reference",
    )
    axes = measure(plan)
    assert {name: [p.x for p in points] for name, points in axes.items()} == {
        "steps": [1, 2],
        "batch": [1, 2],
        "width": [16],
        "rate": [0.3],
    }
    one, two = axes["batch"]
    assert (one.samples, two.samples) == (1, 2)
    assert two.dense_macs == 2 * one.dense_macs == 2 * axes["width"][0].dense_macs
    assert axes["rate"][0].rate == pytest.approx(demo.facts["mean_rate"], abs=0.1)
    assert all(point.seconds > 0 for points in axes.values() for point in points)


def test_exponents_are_fitted_against_their_own_quantity():
    def points(power: float, **quantities: float) -> list[dict[str, float]]:
        return [
            {"x": x, "seconds": x**power} | {name: x**p for name, p in quantities.items()}
            for x in (1.0, 2.0, 4.0)
        ]

    found = exponents(
        {
            "steps": points(1),
            "batch": points(0.9),
            "width": points(2, dense_macs=2, synaptic_operations=4),
            "rate": points(1, rate=-2),
        }
    )
    assert found == pytest.approx(
        {"steps": 1, "batch": 0.9, "width": 2, "macs": 1, "operations": 0.5, "rate": -0.5}
    )
    assert exponents({}) == {}
