"""From a float network to an integer network, and a record of what it cost."""

from trispike.quantize.quantize import Granularity, Quantization, quantize
from trispike.quantize.record import ConnectionRecord, PopulationRecord, QuantizationRecord

__all__ = [
    "ConnectionRecord",
    "Granularity",
    "PopulationRecord",
    "Quantization",
    "QuantizationRecord",
    "quantize",
]
