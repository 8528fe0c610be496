"""Fine-tuning of integer networks in PyTorch: what trains is what is deployed."""

from trispike.quantize.finetune.module import IntegerModule, Trace
from trispike.quantize.finetune.record import EpochRecord, FinetuneRecord
from trispike.quantize.finetune.settings import Settings
from trispike.quantize.finetune.trainer import Finetuning, finetune

__all__ = [
    "EpochRecord",
    "FinetuneRecord",
    "Finetuning",
    "IntegerModule",
    "Settings",
    "Trace",
    "finetune",
]
