"""The page: what a run cost, in one HTML file that loads nothing from anywhere.

``matrices`` and ``content`` work the figures out, ``words`` and ``charts`` say how they look,
``page`` and the templates lay them out.
"""

from __future__ import annotations

import importlib.util

from trispike.errors import MissingDependencyError

if importlib.util.find_spec("jinja2") is None:
    raise MissingDependencyError(
        "report",
        got="no jinja2",
        expected="jinja2 3.1 or later",
        fix="Run: pip install 'trispike[report]'",
    )

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
