"""Fine-tuning of integer networks in PyTorch: what trains is what is deployed."""

import importlib.util

from trispike.errors import MissingDependencyError

if importlib.util.find_spec("torch") is None:
    raise MissingDependencyError(
        "trispike.quantize.finetune",
        got="no PyTorch",
        expected="torch, to train networks",
        fix="Run: pip install 'trispike[torch]'",
    )

from trispike.quantize.finetune.augment import mirrored, use_threads
from trispike.quantize.finetune.module import IntegerModule, Trace
from trispike.quantize.finetune.record import EpochRecord, FinetuneRecord
from trispike.quantize.finetune.settings import Settings
from trispike.quantize.finetune.trainer import Augment, Finetuning, finetune

__all__ = [
    "Augment",
    "EpochRecord",
    "FinetuneRecord",
    "Finetuning",
    "IntegerModule",
    "Settings",
    "Trace",
    "finetune",
    "mirrored",
    "use_threads",
]
