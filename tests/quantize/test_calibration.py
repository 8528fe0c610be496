"""Data of another range than the network's are refused before they decide on its input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.networks import CASES, sample_inputs
from tests.quantize.floats import as_float
from trispike.errors import InvalidDataError
from trispike.quantize import quantize
from trispike.quantize.calibration import KNOWN_DATA, check_varied, data_facts


@pytest.fixture
def network():
    return as_float(CASES["pooled_downsample"](), unit=0.01)


@pytest.fixture
def data(network):
    return sample_inputs(CASES["pooled_downsample"](), 6)


@pytest.mark.parametrize("value", [0, 7])
def test_one_value_throughout_is_refused_by_the_command_line_only(network, data, value):
    alike = np.full_like(data, value)
    with pytest.raises(InvalidDataError, match=f"6 samples in which every value is {value}; "):
        check_varied(alike)
    check_varied(data)
    quantize(network, alike)  # networks built by hand may well be asked about silence


@pytest.mark.parametrize("factor", [255.0, 1 / 255])
def test_another_range_than_at_conversion_is_refused(network, data, factor):
    noted = {KNOWN_DATA: data_facts(data, "images")}
    network = replace(network, provenance=noted)
    for near in (data, data * 2.0, data / 2.0):
        quantize(network, near)
    with pytest.raises(InvalidDataError, match=r"converted with \(images\)") as caught:
        quantize(network, data * factor)
    largest = float(np.abs(data).max())
    message = str(caught.value)
    assert f"values up to {largest * factor:g}; expected values up to about {largest:g}" in message
    assert f"Multiply them by {1 / factor:.3g}" in message


def test_without_known_data_any_range_is_taken(network, data):
    quantize(network, data * 255.0)
