"""Modules of the user's own code, as ``trispike convert --module`` takes them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trispike.api import Conversion
from trispike.api import convert as convert_module
from trispike.cli.console import progress_bar, stage
from trispike.errors import InvalidSettingError
from trispike.runtime.data import Data

if TYPE_CHECKING:
    from trispike.export import Takes

RANDOM_SAMPLES = 4
"""Stand-ins for data."""


def convert_own(
    checkpoint: Path,
    factory: str,
    given: Data | None,
    *,
    input_shape: tuple[int, ...] | None,
    steps: int | None,
    takes: Takes | None,
    **settings: Any,
) -> Conversion:
    """Convert what a factory makes, with the weights of a checkpoint.

    Args:
        checkpoint: State dict of the module.
        factory: ``package.module:name`` of a callable without arguments.
        given: Data of the proof; random ones if None.
        input_shape: Of these.
        steps: T; None for modules of QCFS activations, whose levels say it.
        takes: What one call of the module takes.
        settings: As of ``trispike.convert``.

    Raises:
        InvalidSettingError: Neither data nor their shape are given, or no time steps.
        TrispikeError: As ``trispike.nn.own_modules.load_own_module`` and ``trispike.convert``.
    """
    with stage("loading PyTorch and the module"):
        # torch takes seconds to load; the help text does not need it.
        from trispike.export import has_levels
        from trispike.nn.own_modules import load_own_module

        module, sha256 = load_own_module(factory, checkpoint)
    if not has_levels(module):
        stated(steps)
    data = _random(input_shape) if given is None else given
    with progress_bar("folding and proving", len(data.x)) as progress:
        conversion = convert_module(
            module,
            data.x,
            steps=steps,
            takes=takes,
            proof_samples=len(data.x),
            data_description=data.name,
            progress=progress,
            **settings,
        )
    facts = {"file": checkpoint.name, "sha256": sha256, "factory": factory}
    recorded = {**conversion.network.provenance, "module": facts}
    return replace(conversion, network=replace(conversion.network, provenance=recorded))


def stated(steps: int | None) -> int:
    """The time steps, or an error that asks for them."""
    if steps is None:
        raise InvalidSettingError(
            "--steps",
            got="nothing",
            expected="the number of time steps, at least 1",
            fix="Give --steps T; no checkpoint tells them.",
        )
    return steps


def _random(shape: tuple[int, ...] | None) -> Data:
    if shape is None:
        raise InvalidSettingError(
            "--data",
            got="nothing, and no --input-shape",
            expected="data that the module takes, or their shape",
            fix="Give --data for a proof on real data.",
        )
    random = np.random.default_rng(0).normal(size=(RANDOM_SAMPLES, *shape))
    return Data(random, None, "random normal inputs")
