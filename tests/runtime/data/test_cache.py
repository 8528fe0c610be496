from pathlib import Path

import pytest

from trispike.errors import InvalidSettingError
from trispike.runtime.data import CACHE_VARIABLE, cache_folder


@pytest.mark.parametrize(
    ("chosen", "xdg", "expected"),
    [
        ("/chosen", "/xdg", "/chosen"),
        ("", "/xdg", "/xdg/trispike"),
        (None, "/xdg", "/xdg/trispike"),
        (None, "relative", "/home/me/.cache/trispike"),
        (None, "", "/home/me/.cache/trispike"),
        (None, None, "/home/me/.cache/trispike"),
    ],
)
def test_where_the_cache_is(chosen, xdg, expected, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    for name, value in ((CACHE_VARIABLE, chosen), ("XDG_CACHE_HOME", xdg)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected)


def test_a_relative_cache_is_below_the_working_directory(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(CACHE_VARIABLE, "here")
    assert cache_folder() == tmp_path / "here"


def test_without_a_home_the_variable_is_named(monkeypatch):
    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    with pytest.raises(InvalidSettingError, match="Set TRISPIKE_CACHE to such a folder"):
        cache_folder()
