"""From a placement to the core numbers that SANA-FE knows."""

from __future__ import annotations

import numpy as np

from trispike.errors import UnsupportedError
from trispike.network import Network
from trispike.targets.loihi.placement import Placement
from trispike.targets.sanafe.prices import Mesh
from trispike.targets.sanafe.replaying import Integers

CHIP = "loihi1"
"""The one chip that SANA-FE has prices for."""

GATE = 0
"""The core that elements of the input are put on: they cost nothing there, but their messages
start from its corner of the mesh."""


def cores_of(placement: Placement, network: Network, mesh: Mesh) -> dict[str, Integers]:
    """The core of every neuron, and of every element of the input, by name.

    Raises:
        UnsupportedError: Another chip than Loihi 1, several chips, another mesh, or a placement
            that is not whole.
    """
    chip = placement.chip
    if chip.id != CHIP:
        raise _refused(f"a placement on {chip.name}", "Loihi 1, the one that SANA-FE has prices of")
    if placement.misfits:
        raise _refused("populations that do not fit", "a place for every neuron")
    chips = {core.chip for core in placement.cores}
    if len(chips) > 1:
        raise _refused(
            f"{len(chips)} chips", "one chip: SANA-FE has no price for a link between chips"
        )
    shape = (chip.mesh_rows.value, chip.cores_per_router.value)
    if shape != (mesh.rows, mesh.cores_per_tile):
        raise _refused(
            f"a mesh with {shape[0]} rows and {shape[1]} cores per router",
            f"{mesh.rows} and {mesh.cores_per_tile}, as SANA-FE describes it",
        )
    numbers = np.array([core.core for core in placement.cores], np.int64)
    return {
        network.input.name: np.full(network.input.shape, GATE, np.int64),
        **{name: numbers[index] for name, index in placement.core_of.items()},
    }


def _refused(got: str, expected: str) -> UnsupportedError:
    return UnsupportedError(
        "placement",
        got=got,
        expected=expected,
        fix="Place the network on one chip: trispike check NET --target loihi1 -o placement.json.",
    )
