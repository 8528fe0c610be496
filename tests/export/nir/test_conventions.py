"""The conventions are complete and documented; those whose tools are not run, against their source.

The neurons below are written after the equations in the tools' source files, which the
conventions cite.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from tests.export.nir.test_import import chain
from trispike.errors import FileFormatError, InvalidSettingError, UnsupportedError
from trispike.export.nir import conventions, from_graph
from trispike.export.nir.conventions import CHOICES
from trispike.runtime import ReferenceEngine

PAGE = (Path(__file__).parents[3] / "docs" / "nir.md").read_text(encoding="utf-8")
STEPS, N, DT = 40, 6, 0.5
RNG = np.random.default_rng(5)
TAU, SYN = np.full(N, 3.0), np.full(N, 2.0)
THRESHOLD = RNG.uniform(0.8, 1.5, N)


@pytest.mark.parametrize("name", conventions())
def test_entries(name):
    entry = conventions()[name]
    open_keys = {key for key in CHOICES if getattr(entry, key) is None}
    assert set(entry.reads) == open_keys
    for key, choices in CHOICES.items():
        assert getattr(entry, key) in (None, *choices)
        assert entry.reads.get(key) in (None, *choices)
    assert set(entry.refused) <= set(nir.ir.__dict__["__all_ir"])
    assert entry.precision in ("float32", "float64")
    assert entry.source
    assert entry.description
    assert f"| `{name}`" in PAGE


def test_settings_are_documented():
    for key in CHOICES:
        assert f"`{key}`" in PAGE


def kept() -> tuple[Any, Any, Any, Any]:
    return 1 - DT / TAU, np.exp(-DT / TAU), 1 - DT / SYN, np.exp(-DT / SYN)


def spyx(x: Any) -> Any:
    v, fired = np.zeros(N), []
    for now in x:
        spikes = (v > THRESHOLD).astype(float)
        v = kept()[0] * v + now - spikes * THRESHOLD
        fired.append(spikes)
    return np.stack(fired)


def rockpool(x: Any) -> Any:
    i, v, fired = np.zeros(N), np.zeros(N), []
    for now in x:
        i = (i + now) * kept()[3]
        v = v * kept()[1] + i
        spikes = (v >= THRESHOLD).astype(float)
        v = v - spikes * THRESHOLD
        fired.append(spikes)
    return np.stack(fired)


def lava(x: Any) -> Any:
    """Lava's float LIF with du = dt/tau_syn, dv = dt/tau_mem."""
    i, v, fired = np.zeros(N), np.zeros(N), []
    for now in x:
        i = i * kept()[2] + now
        v = v * kept()[0] + i + 0.05
        spikes = (v > THRESHOLD).astype(float)
        v = v * (1 - spikes)
        fired.append(spikes)
    return np.stack(fired)


def sinabs(x: Any) -> Any:
    v, fired = np.zeros(N), []
    for now in x:
        v = kept()[1] * v + (1 - kept()[1]) * now
        spikes = (v >= THRESHOLD).astype(float)
        v = v - spikes * THRESHOLD
        fired.append(spikes)
    return np.stack(fired)


def cuba(**fields: Any) -> Any:
    ones, zeros = np.ones(N), np.zeros(N)
    own = {"tau_syn": SYN, "tau_mem": TAU, "r": ones, "v_leak": zeros, "v_threshold": THRESHOLD}
    return nir.CubaLIF(**{**own, **fields})


def lif(**fields: Any) -> Any:
    own = {"tau": TAU, "r": np.ones(N), "v_leak": np.zeros(N), "v_threshold": THRESHOLD}
    return nir.LIF(**{**own, **fields})


TOOLS: dict[str, tuple[Any, Callable[[Any], Any], dict[str, str]]] = {
    "spyx": (lif(r=1 - DT / TAU), spyx, {}),
    "rockpool": (cuba(r=TAU * np.exp(-DT / TAU) / DT), rockpool, {}),
    "lava": (cuba(r=TAU / DT, w_in=SYN / DT, v_leak=0.05 * TAU / DT), lava, {}),
    "sinabs": (lif(), sinabs, {"gain": "r", "reset": "subtract"}),
}


@pytest.mark.parametrize("name", TOOLS)
def test_neurons_as_the_sources_say(name):
    node, simulate, settings = TOOLS[name]
    weight = np.eye(N)
    graph = chain((N,), nir.Linear(weight), node, out=(N,))
    network = from_graph(graph, convention=name, dt=DT, steps=STEPS, settings=settings)
    low, high = (-1.2, 1.5) if isinstance(node, nir.CubaLIF) else (-0.5, 3)
    x = np.rint(RNG.uniform(low, high, (3, STEPS, N)) * 64) / 64
    result = ReferenceEngine(network).run(x)
    theirs = np.stack([simulate(sample) for sample in x])
    assert 0.02 < theirs.mean() < 0.9
    # What leaves the network, delays of the output included.
    assert np.array_equal(result.step_logits, theirs)


def test_what_a_tool_cannot_have_written_is_refused():
    def told(convention: str, node: Any, **settings: Any) -> Any:
        graph = chain((N,), nir.Linear(np.eye(N)), node, out=(N,))
        return from_graph(graph, convention=convention, dt=DT, steps=3, settings=settings)

    with pytest.raises(FileFormatError, match=r"field 'r': got .*expected one"):
        told("norse", lif(r=np.full(N, 2.0)))
    with pytest.raises(FileFormatError, match="field 'v_reset': got values that are not 0"):
        told("norse", lif(v_reset=np.full(N, 0.1)))
    with pytest.raises(FileFormatError, match="field 'v_leak': got values that are not 0"):
        told("snntorch", lif(v_leak=np.ones(N)), reset="zero")
    with pytest.raises(FileFormatError, match="field 'w_in': got values that are not 1"):
        told("rockpool", cuba(r=TAU * np.exp(-DT / TAU) / DT, w_in=np.full(N, 2.0)))
    with pytest.raises(FileFormatError, match=r"field 'v_reset': got .*with reset 'subtract'"):
        told("exact", lif(v_reset=np.full(N, 0.1)), reset="subtract")
    with pytest.raises(UnsupportedError, match=r"\(CubaLIF\): got convention 'spyx'"):
        told("spyx", cuba())
    with pytest.raises(UnsupportedError, match=r"beta 0.9"):
        told("snntorch", nir.IF(np.ones(N), np.ones(N)), reset="zero")
    with pytest.raises(InvalidSettingError, match=r"node 'n1' \(LIF\).*do not say 'reset'"):
        told("snntorch", lif())
    with pytest.raises(InvalidSettingError, match="do not say 'gain'"):
        told("sinabs", lif(), reset="zero")
    with pytest.raises(InvalidSettingError, match="do not say 'if_floor'"):
        told("sinabs", nir.IF(np.ones(N), np.ones(N)), reset="zero")
    with pytest.raises(UnsupportedError, match="late soft reset with a synaptic current"):
        told("snntorch", cuba(), reset="subtract-late")


def test_gains_that_differ_by_position_go_into_the_thresholds():
    shape = (2, 3, 4)
    r = RNG.uniform(1, 2, shape)
    tau = np.full(shape, 2.0)
    node = nir.LIF(tau, r, np.zeros(shape), np.full(shape, 0.5))
    conv = nir.Conv2d((3, 4), RNG.normal(size=(2, 2, 3, 3)), 1, 1, 1, 1, np.zeros(2))
    graph = chain(shape, conv, node, out=shape)
    network = from_graph(graph, convention="exact", dt=DT, steps=4)
    (neuron,) = (p.neuron for p in network.populations.values())
    np.testing.assert_allclose(neuron.th_pos, 0.5 / (r * DT / 2.0))
    negative = nir.LIF(tau, -r, np.zeros(shape), np.full(shape, 0.5))
    with pytest.raises(FileFormatError, match="field 'r': got a gain that is not positive"):
        from_graph(chain(shape, conv, negative, out=shape), convention="exact", dt=DT, steps=4)
