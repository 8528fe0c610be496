"""Show the roles of docstrings, such as :class:`~trispike.Neuron`, as code in the API page."""

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):`(~?)([\w.]+)`")


def _as_code(match: re.Match[str]) -> str:
    short, name = match.groups()
    return f"`{name.rpartition('.')[2] if short else name}`"


class SphinxRoles(griffe.Extension):
    """Griffe reads Markdown, which knows no roles."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite the docstring of one object."""
        if obj.docstring:
            obj.docstring.value = ROLE.sub(_as_code, obj.docstring.value)
