"""Reports of small networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.networks import sample_inputs
from trispike.network import Network
from trispike.runtime import ReferenceEngine
from trispike.runtime.energy import load_hardware
from trispike.runtime.report import DEFAULT_HARDWARE, Origin, Report, build_report

SAMPLES = 6


def report_of(
    network: Network,
    *,
    labels: bool = True,
    hardware: Sequence[str] = DEFAULT_HARDWARE["integer"],
    origin: Origin = Origin(network="net", data="data"),  # noqa: B008 - frozen
    **options: Any,
) -> Report:
    """A report of a few random samples."""
    x = sample_inputs(network, SAMPLES)
    y = np.arange(SAMPLES) % network.readout.classes if labels else None
    result = ReferenceEngine(network).run(x, y, per_sample=True)
    prices = [load_hardware(name) for name in hardware]
    return build_report(network, x, result, prices, origin=origin, **options)
