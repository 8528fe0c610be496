"""From a float network to an integer network, never in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from trispike.errors import InvalidSettingError, QuantizationError
from trispike.network import FloatNetwork, IntegerNetwork, Network
from trispike.network.fixed_point import DEFAULT_STATE_BITS
from trispike.quantize.calibration import encoded_calibration
from trispike.quantize.fitting import Method
from trispike.quantize.measure import measure
from trispike.quantize.quantizer import Granularity, Quantizer, Settings
from trispike.quantize.record import QuantizationRecord

Array: TypeAlias = npt.NDArray[Any]

WIDTHS = range(2, 9)
"""Bits that weights may have."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quantization:
    """An integer network, and what it cost."""

    network: IntegerNetwork
    record: QuantizationRecord
    scales: Mapping[str, Array]
    """(channels,) per population, and for the readout: value of one unit of its accumulator."""


def quantize(
    network: Network,
    calibration: Array,
    labels: Array | None = None,
    *,
    weight_bits: int | Mapping[str, int] = 8,
    granularity: Granularity = "channel",
    method: Method | None = None,
    state_bits: int = DEFAULT_STATE_BITS,
    state_shift: int | None = None,
    batch_size: int = 32,
    progress: Callable[[int], None] | None = None,
) -> Quantization:
    """Quantize weights, thresholds, biases, retention factors, input and readout.

    Args:
        network: A float network; it is not changed.
        calibration: Raw data, as ``network.input.encode`` takes them. The range of the input is
            taken from them, and the record is measured on them.
        labels: (N,) classes of the calibration data, for the accuracies in the record.
        weight_bits: Width of a weight, sign included, 2..8; symmetric. Or one for each
            connection, by its label in the integer network.
        granularity: One weight scale per output channel (free: thresholds absorb it), or one per
            layer, for targets with one threshold per core.
        method: How scales are chosen and weights are rounded; see
            :data:`trispike.quantize.fitting.Method`. By default ``gptq``, but ``nearest`` where
            all connections into a population have 8 bits, with which nothing is to be gained.
        state_bits: Width of the states, sign included.
        state_shift: Left shift of the accumulators; chosen per population if None.
        batch_size: Calibration samples that are run together.
        progress: Called with the number of calibration samples finished since the last call; all
            of them are finished once.

    Raises:
        QuantizationError: The network is an integer one already, there are no calibration data,
            or a parameter has no integer form.
        InvalidSettingError: A setting is out of range.
        InvalidDataError: The calibration data or the labels do not fit the network, or these data
            are all one value, or of another range than those that it was converted with.
    """
    quantizer, labels = prepared(
        network,
        calibration,
        labels,
        method=method,
        granularity=granularity,
        state_bits=state_bits,
        state_shift=state_shift,
        batch_size=batch_size,
    )
    bits = checked_widths(quantizer.labels, weight_bits)
    return finished(quantizer, np.asarray(calibration), labels, bits, progress)


def prepared(
    network: Network,
    calibration: Array,
    labels: Array | None,
    *,
    method: Method | None = None,
    granularity: Granularity = "channel",
    state_bits: int = DEFAULT_STATE_BITS,
    state_shift: int | None = None,
    batch_size: int = 32,
) -> tuple[Quantizer, Array | None]:
    """A quantizer of checked data and settings, and checked labels; errors as `quantize`."""
    if not isinstance(network, FloatNetwork):
        raise QuantizationError(
            "network",
            got="a network that is already integer",
            expected="a float network",
            fix="Quantize the float network that it was made from.",
        )
    _check_settings(
        granularity=(granularity, get_args(Granularity)),
        method=(method, (None, *get_args(Method))),
        state_bits=(state_bits, range(8, 33)),
        state_shift=(state_shift, (None, *range(17))),
        batch_size=(batch_size, range(1, 2**31)),
    )
    encoded = encoded_calibration(network, np.asarray(calibration))
    if labels is not None:
        labels = network.readout.checked_labels(labels, len(encoded))
    settings = Settings(
        granularity=granularity,
        state_bits=int(state_bits),
        state_shift=None if state_shift is None else int(state_shift),
        method=method,
        batch_size=int(batch_size),
    )
    return Quantizer(network, encoded, settings), labels


def finished(
    quantizer: Quantizer,
    calibration: Array,
    labels: Array | None,
    bits: Mapping[str, int],
    progress: Callable[[int], None] | None,
) -> Quantization:
    """The integer network at these widths, with its record."""
    settings, widest = quantizer.settings, max(bits.values())
    noted: dict[str, Any] = {
        "weight_bits": widest if len(set(bits.values())) == 1 else dict(bits),
        "granularity": settings.granularity,
        "state_bits": settings.state_bits,
    }
    method = settings.method_at(bits.values())
    if method != "nearest":
        noted["method"] = method
    integer = quantizer.network(bits, noted)
    parts = quantizer.parts(bits)
    record = measure(quantizer, integer, bits, calibration, labels, progress)
    scales = {name: part.weights.scales for name, part in parts.items()}
    return Quantization(network=integer, record=record, scales=MappingProxyType(scales))


def checked_widths(labels: Sequence[str], weight_bits: int | Mapping[str, int]) -> dict[str, int]:
    """Bits by label of the connection.

    Raises:
        InvalidSettingError: A width is out of range, or the names are not those of the network.
    """
    if not isinstance(weight_bits, Mapping):
        _check_settings(weight_bits=(weight_bits, WIDTHS))
        return dict.fromkeys(labels, int(weight_bits))
    if set(weight_bits) != set(labels):
        wrong = sorted(set(weight_bits) ^ set(labels))
        raise InvalidSettingError(
            "setting 'weight_bits'",
            got=f"{'no' if wrong[0] in labels else 'a'} width for {wrong[0]!r}",
            expected="one for each of " + ", ".join(labels),
            fix="Name every connection of the integer network once.",
        )
    for label in labels:
        _check_settings(**{f"weight_bits[{label}]": (weight_bits[label], WIDTHS)})
    return {label: int(weight_bits[label]) for label in labels}


def _check_settings(**settings: tuple[Any, Sequence[Any]]) -> None:
    for name, (value, allowed) in settings.items():
        if value not in allowed or isinstance(value, float | bool):
            choices = f"{allowed[0]}..{allowed[-1]}" if isinstance(allowed, range) else str(allowed)
            raise InvalidSettingError(
                f"setting {name!r}", got=repr(value), expected=choices, fix="Choose one of these."
            )
