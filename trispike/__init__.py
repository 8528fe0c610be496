"""Ternary spiking networks: from a PyTorch checkpoint to a Loihi-style deployment.

The jobs: :func:`load_checkpoint`, :func:`convert`, :func:`quantize`, :func:`diagnose`,
:func:`simulate`, :func:`estimate`, :func:`report`, :func:`anytime`, :func:`early_exit`,
:func:`explore`, :func:`verify`, :func:`conformance`. The things they work on:
:class:`FloatNetwork`, :class:`IntegerNetwork`, :func:`save`, :func:`load`. Importing this loads no
optional package.
"""

from typing import TYPE_CHECKING, Any

from trispike.api import (
    Conversion,
    anytime,
    convert,
    early_exit,
    estimate,
    exit_energy,
    explore,
    finetune,
    load_ledger,
    report,
    save_ledger,
    simulate,
)
from trispike.errors import TrispikeError
from trispike.network import (
    FloatNetwork,
    IntegerNetwork,
    Plasticity,
    load,
    make_plastic,
    save,
)
from trispike.quantize import Quantization, quantize
from trispike.runtime import Engine, Ledger, ReferenceEngine, Result
from trispike.runtime.conformance import Conformance, conformance
from trispike.runtime.diagnose import Diagnosis, diagnose
from trispike.runtime.verify import Certificate, verify

if TYPE_CHECKING:
    from trispike.nn import load_checkpoint

__version__ = "0.1.0"

__all__ = [
    "Certificate",
    "Conformance",
    "Conversion",
    "Diagnosis",
    "Engine",
    "FloatNetwork",
    "IntegerNetwork",
    "Ledger",
    "Plasticity",
    "Quantization",
    "ReferenceEngine",
    "Result",
    "TrispikeError",
    "__version__",
    "anytime",
    "conformance",
    "convert",
    "diagnose",
    "early_exit",
    "estimate",
    "exit_energy",
    "explore",
    "finetune",
    "load",
    "load_checkpoint",
    "load_ledger",
    "make_plastic",
    "quantize",
    "report",
    "save",
    "save_ledger",
    "simulate",
    "verify",
]


def __getattr__(name: str) -> Any:
    # The one public name that needs torch, which is loaded when it is asked for.
    if name == "load_checkpoint":
        from trispike.nn import load_checkpoint  # noqa: PLC0415

        return load_checkpoint
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
