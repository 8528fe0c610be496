"""Plasticity rules in a JSON file: by label of a connection, the constants of a rule."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from trispike.errors import FileFormatError, TrispikeError
from trispike.network.plasticity import Plasticity

MEASURED = "measured"
"""Stands for a theta that is taken from the network's own activity on data."""

_FIX = (
    'Write it like {"*": {"eta": -1e-4, "theta": 2, "update": "sample"}}; see docs/plasticity.md.'
)


class Rules(NamedTuple):
    """What a file of rules says."""

    rules: Mapping[str, Plasticity | None]
    """By label, or ``"*"``; as :func:`trispike.make_plastic` takes them."""
    measured: frozenset[str]
    """Those whose theta is still to be measured; it is 0 here."""


def load_rules(path: str | os.PathLike[str]) -> Rules:
    """Read a file of rules.

    An entry holds the arguments of ``Plasticity.from_real``, numbers in spikes and weights; or, if
    ``eta_shift`` is among them, the integer fields of ``Plasticity``; or null for no rule. A theta
    of ``"measured"`` is to be measured.

    Raises:
        FileFormatError: No JSON, or an entry that is no rule.
        FileNotFoundError: No such file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise _error(path, f"no JSON ({error})") from error
    if not isinstance(content, dict) or not content:
        raise _error(path, f"the JSON value {content!r:.40}")
    rules: dict[str, Plasticity | None] = {}
    measured = set()
    for label, entry in content.items():
        if entry is None:
            rules[label] = None
            continue
        if not isinstance(entry, dict):
            raise _error(path, f"{label!r}: {entry!r}")
        constants = dict(entry)
        if constants.get("theta") == MEASURED:
            measured.add(label)
            constants["theta"] = 0
        try:
            rules[label] = _rule(constants)
        except (TrispikeError, TypeError, ValueError) as error:
            raise _error(path, f"{label!r}: {error}") from error
    return Rules(rules, frozenset(measured))


def rule_facts(rule: Plasticity) -> dict[str, Any]:
    """The constants of a rule, as JSON values; a file may hold them."""
    values = {field.name: getattr(rule, field.name) for field in fields(rule)}
    return {**values, "theta": rule.theta.tolist()}


def _rule(constants: dict[str, Any]) -> Plasticity:
    integer = "eta_shift" in constants
    return Plasticity(**constants) if integer else Plasticity.from_real(**constants)


def _error(path: Path, got: str) -> FileFormatError:
    return FileFormatError(
        f"file '{path}'",
        got=got,
        expected="plasticity rules by label of a connection",
        fix=_FIX,
    )
