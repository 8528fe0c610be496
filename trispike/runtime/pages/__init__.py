"""What the HTML pages have in common: each is one file that loads nothing from anywhere.

``layout`` fills the templates and is the only module that needs jinja2, ``heat`` works out the
colours of layers by time steps, ``words`` says how numbers read. ``templates`` holds the frame that
every page extends, its style, and the macros of its tables.
"""

from trispike.errors import MissingDependencyError


def missing_jinja(what: str, otherwise: str = "") -> MissingDependencyError:
    """The error where a page is wanted and jinja2 is not installed.

    Args:
        what: What cannot be made.
        otherwise: What works without it, behind the command that installs it.
    """
    return MissingDependencyError(
        what,
        got="no jinja2",
        expected="jinja2 3.1 or later",
        fix="Run: pip install 'trispike[report]'" + otherwise,
    )
