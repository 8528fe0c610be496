"""What the commands that write an HTML page have in common."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from pathlib import Path

from trispike.cli.console import checked_output
from trispike.errors import InvalidSettingError
from trispike.runtime.pages import missing_jinja

SUFFIXES = (".html", ".htm")


def check_page(output: Path, *sources: Path | None, what: str, otherwise: str = "") -> None:
    """Refuse a page that cannot be written, before any work is done for it.

    Args:
        output: The file to write.
        sources: Files that are read, which must not be overwritten.
        what: Name of the page in errors.
        otherwise: What works without jinja2.

    Raises:
        InvalidSettingError: Another suffix than those of pages.
        MissingDependencyError: jinja2 is not installed.
    """
    for source in sources:
        if source is not None:
            checked_output(output, source)
    if output.suffix not in SUFFIXES:
        raise InvalidSettingError(
            f"{what} '{output}'",
            got=f"suffix {output.suffix!r}",
            expected=" or ".join(SUFFIXES),
            fix="Name the file so; a browser shows it.",
        )
    if importlib.util.find_spec("jinja2") is None:
        raise missing_jinja(what, otherwise)


def command_line() -> str:
    """The command as it was typed, for the provenance of a page."""
    return shlex.join(["trispike", *sys.argv[1:]])
