"""Skips where nir is missing, and a way to write, read and run graphs."""

from __future__ import annotations

import pytest

pytest.importorskip("nir", reason="nir is not installed: pip install 'trispike[nir]'")
