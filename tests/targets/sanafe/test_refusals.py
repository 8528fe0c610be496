"""What cannot be expressed is refused by name."""

from __future__ import annotations

import importlib.metadata
import re
from dataclasses import replace as changed
from typing import Any

import numpy as np
import pytest

from tests.networks import CASES
from tests.targets.sanafe.placed import recorded, replayed, scattered
from trispike.errors import (
    InvalidDataError,
    InvalidSettingError,
    MissingDependencyError,
    UnsupportedError,
)
from trispike.network import load, save
from trispike.targets.loihi.files import load_placement, save_placement
from trispike.targets.loihi.hardware import load_chip
from trispike.targets.loihi.placement import place
from trispike.targets.sanafe import (
    cores_of,
    load_prices,
    replay,
    sanafe_version,
    simulate,
)
from trispike.targets.sanafe.prices import Prices

PRICES = load_prices()
MESH = PRICES.mesh


def test_graded_payloads():
    network = CASES["spikes_encoding"]()
    cores, spikes = scattered(network), recorded(network)
    graded = int((np.abs(spikes["input"]) > 1).sum())
    assert graded > 0
    with pytest.raises(UnsupportedError, match=f"input 'input': got {graded} values outside -1, 0"):
        replay(network, cores, spikes, MESH)
    ternary = {**spikes, "input": np.clip(spikes["input"], -1, 1)}
    made = replay(network, cores, ternary, MESH)
    binary = replay(network, cores, spikes, MESH, inputs="binary")
    assert made.groups[0].name == "input"
    np.testing.assert_array_equal(made.groups[0].trains, binary.groups[0].trains)


def test_an_input_without_a_place():
    network = CASES["vectors"]()
    cores = scattered(network, everything=False)
    with pytest.raises(UnsupportedError, match="input 'input': got a placement that leaves it to"):
        replayed(network, cores=cores)
    assert [g.name for g in replayed(network, cores=cores, inputs="omit").groups] == [
        "first", "second", "third"
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [("inputs", "all"), ("updates", "some")])
def test_unknown_policies(name, value):
    with pytest.raises(InvalidSettingError, match=f"{name}: got '{value}'; expected .* or "):
        replayed(CASES["vectors"](), **{name: value})


def test_places():
    network = CASES["vectors"]()
    cores = scattered(network)
    for name, core in (("first", 128), ("second", -1)):
        wrong = {**cores, name: np.full(12, core)}
        with pytest.raises(UnsupportedError, match=f"got core {core}; expected cores 0 to 127"):
            replayed(network, cores=wrong)
    with pytest.raises(InvalidSettingError, match="no core for population 'third'"):
        replayed(network, cores={n: c for n, c in cores.items() if n != "third"})
    with pytest.raises(InvalidSettingError, match="got 11 neurons of 'first'; expected 12"):
        replayed(network, cores={**cores, "first": cores["first"][:11]})
    narrow = MESH.model_copy(update={"neurons_per_core": 30})
    crowd = {name: np.zeros_like(core) for name, core in cores.items()}
    with pytest.raises(UnsupportedError, match="core 0: got 39 neurons; expected at most 30"):
        replay(network, crowd, recorded(network), narrow, inputs="binary")


def test_spikes_of_another_run():
    network = CASES["vectors"]()
    cores, spikes = scattered(network), recorded(network)
    with pytest.raises(InvalidDataError, match="population 'first': got no recorded spikes"):
        replay(network, cores, {"input": spikes["input"]}, MESH, inputs="binary")
    short = {**spikes, "second": spikes["second"][:, :-1]}
    with pytest.raises(InvalidDataError, match=re.escape("expected (2, 4, 12)")):
        replay(network, cores, short, MESH, inputs="binary")


def test_too_many_synapses(monkeypatch):
    monkeypatch.setattr("trispike.targets.sanafe.replaying.SYNAPSE_LIMIT", 100)
    with pytest.raises(UnsupportedError, match="synapses; expected at most 100: SANA-FE holds"):
        replayed(CASES["vectors"]())


def test_placements(tmp_path):
    network = CASES["groups"]()
    placed = place(network, load_chip("loihi1"))
    cores = cores_of(placed, network, MESH)
    assert cores.keys() == {"input", "readout", *network.populations}
    for name, index in placed.core_of.items():
        expected = np.vectorize(lambda n: placed.cores[n].core)(index)
        np.testing.assert_array_equal(cores[name], expected)
    save(network, tmp_path / "net")
    save_placement(placed, tmp_path / "placement")
    again = load_placement(tmp_path / "placement", load(tmp_path / "net"))
    for name, core in cores_of(again, network, MESH).items():
        np.testing.assert_array_equal(core, cores[name])
    replayed(network, cores=cores)

    def refuse(match: str, **changes: Any) -> None:
        with pytest.raises(UnsupportedError, match=match):
            cores_of(changed(placed, **changes), network, MESH)

    refuse("got a placement on Loihi 2; expected Loihi 1", chip=load_chip("loihi2"))
    refuse(
        "got 2 chips; expected one chip", cores=(placed.cores[0], changed(placed.cores[0], chip=1))
    )
    rows = placed.chip.mesh_rows.model_copy(update={"value": 8})
    other = placed.chip.model_copy(update={"mesh_rows": rows})
    refuse("got a mesh with 8 rows and 4 cores per router", chip=other)


def test_without_the_package(monkeypatch, tmp_path):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    with pytest.raises(MissingDependencyError, match=r"pip install 'trispike\[sanafe\]'"):
        simulate(tmp_path, 1)
    for version in ("2.1.1", "1.9"):
        monkeypatch.setattr(importlib.metadata, "version", lambda _, v=version: v)
        with pytest.raises(MissingDependencyError, match=f"got version {version}; expected .* 2.2"):
            sanafe_version()
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "2.10.0")
    assert sanafe_version() == "2.10.0"


def test_prices_are_checked():
    content = PRICES.model_dump()
    del content["events"]["hop_x"]
    with pytest.raises(ValueError, match="events: "):
        Prices.model_validate(content)
    content = PRICES.model_dump()
    content["events"]["hop_x"]["picojoules"] = -1
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        Prices.model_validate(content)
