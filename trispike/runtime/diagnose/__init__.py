"""What went wrong in a quantization: float network and integer network side by side.

``origin`` checks that the two belong together, ``scales`` finds what an integer is worth,
``measure`` runs them, ``content`` is what a diagnosis says, ``advice`` turns figures into what to
do. ``page`` needs jinja2 and is imported by those who want a page.
"""

from trispike.runtime.diagnose.advice import RULES
from trispike.runtime.diagnose.content import (
    Advice,
    ConnectionDiagnosis,
    Diagnosis,
    Divergence,
    Figures,
    InputDiagnosis,
    Neurons,
    NeuronState,
    PopulationDiagnosis,
    ReadoutDiagnosis,
    SpikeFigures,
)
from trispike.runtime.diagnose.diagnosis import diagnose

__all__ = [
    "RULES",
    "Advice",
    "ConnectionDiagnosis",
    "Diagnosis",
    "Divergence",
    "Figures",
    "InputDiagnosis",
    "NeuronState",
    "Neurons",
    "PopulationDiagnosis",
    "ReadoutDiagnosis",
    "SpikeFigures",
    "diagnose",
]
