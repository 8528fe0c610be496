"""From a float network to an integer network, and a record of what it cost."""

from trispike.quantize.fitting import Method
from trispike.quantize.quantize import Quantization, default_method, quantize
from trispike.quantize.quantizer import Granularity
from trispike.quantize.record import ConnectionRecord, PopulationRecord, QuantizationRecord

__all__ = [
    "ConnectionRecord",
    "Granularity",
    "Method",
    "PopulationRecord",
    "Quantization",
    "QuantizationRecord",
    "default_method",
    "quantize",
]
