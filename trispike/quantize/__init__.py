"""From a float network to an integer network, and a record of what it cost."""

from trispike.quantize.budgeted import Budgeted, layer_sensitivity, quantize_to_fit
from trispike.quantize.fitting import Method
from trispike.quantize.mixed import Budget, Choice, MemoryBudget, MixedPrecision
from trispike.quantize.quantize import Quantization, quantize
from trispike.quantize.quantizer import Granularity
from trispike.quantize.record import ConnectionRecord, PopulationRecord, QuantizationRecord
from trispike.quantize.sensitivity import Quality, Sensitivity

__all__ = [
    "Budget",
    "Budgeted",
    "Choice",
    "ConnectionRecord",
    "Granularity",
    "MemoryBudget",
    "Method",
    "MixedPrecision",
    "PopulationRecord",
    "Quality",
    "Quantization",
    "QuantizationRecord",
    "Sensitivity",
    "layer_sensitivity",
    "quantize",
    "quantize_to_fit",
]
