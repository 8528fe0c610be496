"""The networks that other libraries trained on digits: folded exactly, and as good in integers."""

from __future__ import annotations

import pytest

import trispike
from examples.methods import snntorch as by_snntorch
from examples.methods import spikingjelly as by_spikingjelly
from examples.methods.common import NETWORKS

TRAINED = {
    "snntorch": (by_snntorch.convert, "snntorch_digits.pth"),
    "spikingjelly": (by_spikingjelly.convert, "spikingjelly_digits.pth"),
}


@pytest.mark.parametrize("library", TRAINED)
def test_a_trained_network(library):
    pytest.importorskip(library)
    convert, name = TRAINED[library]
    assert (NETWORKS / name).stat().st_size < 400_000
    train, test = by_snntorch.METHOD.samples()
    conversion = convert(NETWORKS / name, test.x[:8])
    assert conversion.proof.spike_mismatches == 0
    integer = trispike.quantize(conversion.network, train.x[:64], train.y[:64]).network
    accuracy = trispike.simulate(integer, test.x, test.y, engine="fast").accuracy
    assert accuracy is not None
    assert accuracy > 0.97
