"""Every engine of this package passes the suite, and refuses only what it is known to refuse."""

from __future__ import annotations

from typing import Any

import pytest

from trispike.errors import UnsupportedError
from trispike.runtime.conformance import CONSTRUCTIONS, conformance
from trispike.runtime.onnx_engine import OnnxEngine

ENGINES: dict[str, dict[str, Any]] = {
    "reference": {},
    "reference, one by one": {"batch_size": 1},
    "fast": {},
    "fast on a device of torch": {"device": "cpu"},
    "onnx": {},
    "onnx in int8": {"carrier": "int8"},
    "nir": {},
    "lava": {},
}
"""Options by a label that begins with the engine's name."""

PACKAGES = {"fast": "numba", "onnx": "onnxruntime", "nir": "nir", "lava": "lava"}

QUICK = ("every-mth-spike", "ternary-complement", "rounding", "ring", "quantized-levels")
"""Those that run by default on engines with a costly start."""

INTEGER_ONLY = ("lava", "onnx in int8")


def check(label: str, only: tuple[str, ...] | None = None) -> None:
    name = label.split(maxsplit=1)[0].strip(",")
    pytest.importorskip(PACKAGES.get(name, "numpy"), reason=f"{name} is not installed")
    options = ENGINES[label]
    if label == "onnx in int8":  # a setting for integer networks, refused with float ones
        found = conformance(_integers_in_onnx, only)
    else:
        found = conformance(name, only, **options)
    failed = [outcome for outcome in found.outcomes if outcome.status == "failed"]
    assert failed == []
    assert found.conforms
    refused = {(o.construction, o.kind) for o in found.outcomes if o.status == "refused"}
    wanted = CONSTRUCTIONS if only is None else only
    expected = {(n, "float") for n in wanted if "float" in CONSTRUCTIONS[n].kinds}
    expected = expected if label in INTEGER_ONLY else set()
    if name == "lava" and "instant-loop" in wanted:
        expected.add(("instant-loop", "integer"))
    assert refused == expected


def _integers_in_onnx(network: Any) -> Any:
    if network.kind == "float":
        raise UnsupportedError("carrier", got="float", expected="integers", fix="None.")
    return OnnxEngine(network, carrier="int8")


def test_the_reference_passes_all():
    check("reference")


@pytest.mark.parametrize("label", [label for label in ENGINES if label != "reference"])
def test_every_engine_passes_a_choice(label):
    check(label, QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("label", [label for label in ENGINES if label != "reference"])
def test_every_engine_passes_all(label):
    check(label)
