"""Quantization where memory decides, and what each layer would cost at fewer bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from trispike.errors import InvalidSettingError
from trispike.network import Network
from trispike.network.fixed_point import DEFAULT_STATE_BITS
from trispike.quantize.fitting import Method
from trispike.quantize.mixed import Budget, MixedPrecision, choose_widths
from trispike.quantize.quantize import WIDTHS, Quantization, finished, prepared
from trispike.quantize.quantizer import WIDEST, Granularity
from trispike.quantize.sensitivity import (
    Judge,
    Runner,
    Sensitivity,
    plain_runner,
    sensitivities,
)

Array: TypeAlias = npt.NDArray[Any]

REPORTED = (4, 3, 2)
"""Bits that the sensitivity of a layer is reported for, unless others are asked for."""


class Budgeted(NamedTuple):
    """A network that fits a budget."""

    quantization: Quantization
    mixed: MixedPrecision


def quantize_to_fit(
    network: Network,
    calibration: Array,
    labels: Array | None = None,
    *,
    budget: Budget,
    granularity: Granularity = "channel",
    method: Method | None = None,
    state_bits: int = DEFAULT_STATE_BITS,
    state_shift: int | None = None,
    batch_size: int = 32,
    run: Runner = plain_runner,
    progress: Callable[[int], None] | None = None,
) -> Budgeted:
    """Quantize with as many bits for each connection as a budget allows.

    Args:
        network: A float network; it is not changed.
        calibration: Raw data, on which every connection's cost at fewer bits is measured.
        labels: (N,) classes of the calibration data, for the accuracies in the record.
        budget: What the integer network may take.
        granularity: As for :func:`trispike.quantize.quantize`.
        method: The same.
        state_bits: The same.
        state_shift: The same.
        batch_size: The same.
        run: What runs networks on raw data and returns logits.
        progress: Called with 1 after each measured network.

    Raises:
        QuantizationError: As ``quantize``; or not even 2 bits meet the budget, with the smallest
            one that would be met.
        InvalidSettingError: As ``quantize``.
        InvalidDataError: As ``quantize``.
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
    raw = np.asarray(calibration)
    judge = Judge(quantizer.source, raw, labels, run)
    mixed = choose_widths(quantizer, judge, budget, progress)
    return Budgeted(finished(quantizer, raw, labels, mixed.chosen.bits, None), mixed)


def layer_sensitivity(
    network: Network,
    calibration: Array,
    labels: Array | None = None,
    *,
    weight_bits: Sequence[int] = REPORTED,
    granularity: Granularity = "channel",
    method: Method | None = None,
    state_bits: int = DEFAULT_STATE_BITS,
    state_shift: int | None = None,
    batch_size: int = 32,
    run: Runner = plain_runner,
    progress: Callable[[int], None] | None = None,
) -> tuple[Sensitivity, ...]:
    """What each connection costs at few bits, with all others at 8.

    Args:
        network: A float network; it is not changed.
        calibration: Raw data, on which it is measured.
        labels: (N,) classes, for accuracies.
        weight_bits: Bits that are tried, each 2..7.
        granularity: As for :func:`trispike.quantize.quantize`.
        method: The same.
        state_bits: The same.
        state_shift: The same.
        batch_size: The same.
        run: What runs networks on raw data and returns logits.
        progress: Called with 1 after each measured network.

    Raises:
        QuantizationError: As ``quantize``.
        InvalidSettingError: As ``quantize``, or bits that are not 2..7.
        InvalidDataError: As ``quantize``.
    """
    wrong = [bits for bits in weight_bits if bits not in WIDTHS or bits == WIDEST]
    if wrong or not weight_bits:
        raise InvalidSettingError(
            "setting 'weight_bits'",
            got=repr(wrong[0] if wrong else weight_bits),
            expected=f"{WIDTHS[0]}..{WIDEST - 1}, since the others have {WIDEST}",
            fix="Choose some of these.",
        )
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
    judge = Judge(quantizer.source, np.asarray(calibration), labels, run)
    return sensitivities(quantizer, judge, weight_bits, progress=progress)
