"""The page: what a run cost, in one HTML file that loads nothing from anywhere.

``matrices`` and ``content`` work the figures out, ``words`` and ``charts`` say how they look,
``page`` and the template lay them out on what ``trispike.runtime.pages`` has for every page.
"""

from trispike.runtime.report.content import (
    DEFAULT_HARDWARE,
    Origin,
    Report,
    build_report,
    checked_hardware,
)
from trispike.runtime.report.matrices import Matrix
from trispike.runtime.report.page import (
    SECTIONS,
    Contest,
    contests,
    render_report,
    write_report,
)

__all__ = [
    "DEFAULT_HARDWARE",
    "SECTIONS",
    "Contest",
    "Matrix",
    "Origin",
    "Report",
    "build_report",
    "checked_hardware",
    "contests",
    "render_report",
    "write_report",
]
