import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from trispike.errors import (
    FileFormatError,
    InvalidDataError,
    TrispikeError,
)
from trispike.runtime.data import load_data

X = np.arange(12, dtype=np.float32).reshape(4, 3)
Y = np.array([2, 0, 1, 1], dtype=np.uint8)


def write(path: Path, **arrays: Any) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".npy":
        np.save(path, arrays["x"])
    else:
        safetensors.numpy.save_file(arrays, path)
    return path


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".safetensors"])
def test_data_from_a_file(suffix, tmp_path):
    data = load_data(str(write(tmp_path / f"data{suffix}", x=X, y=Y, more=X)))
    assert data.name == f"data{suffix}"
    assert data.x.dtype == np.float32
    np.testing.assert_array_equal(data.x, X)
    if suffix == ".npy":
        assert data.y is None
    else:
        np.testing.assert_array_equal(data.y, Y)
    assert load_data(str(write(tmp_path / f"x{suffix}", x=X))).y is None


def test_either_numpy_format_is_read_under_either_name(tmp_path):
    write(tmp_path / "archive.npz", x=X, y=Y).rename(tmp_path / "archive.npy")
    write(tmp_path / "array.npy", x=X).rename(tmp_path / "array.npz")
    np.testing.assert_array_equal(load_data(str(tmp_path / "archive.npy")).y, Y)
    np.testing.assert_array_equal(load_data(str(tmp_path / "array.npz")).x, X)


@pytest.mark.parametrize("suffix", ["", ".csv", ".pth"])
def test_other_formats_are_refused(suffix, tmp_path):
    path = tmp_path / f"data{suffix}"
    path.write_bytes(b"1, 2, 3")
    with pytest.raises(
        InvalidDataError, match=f"got suffix '{suffix}'; expected .npz, .npy or .saf"
    ):
        load_data(str(path))


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"inputs": X, "targets": Y}, "got arrays inputs, targets; expected an array x"),
        ({}, "got arrays none; expected an array x of samples"),
        (
            {"x": np.float64(3)},
            r"got x of shape \(\) and dtype float64; expected an array x of sam",
        ),
        ({"x": X + 1j}, r"got x of shape \(4, 3\) and dtype complex64; expected .* real numbers"),
        ({"x": np.array(list("abc"))}, r"x of shape \(3,\) and dtype <U1"),
        ({"x": np.zeros(2, "i4,f4")}, r"x of shape \(2,\) and dtype \[\('f0', '<i4'\)"),
        ({"x": X, "y": Y[:3]}, r"x of shape \(4, 3\), y of shape \(3,\) and dtype uint8"),
        ({"x": X, "y": Y[:, None]}, r"y of shape \(4, 1\)"),
        ({"x": X, "y": np.uint8(1)}, r"y of shape \(\)"),
        ({"x": X, "y": Y / 2}, "and dtype float64; expected y to be one integer class per sample"),
        ({"x": X, "y": np.array(list("abcd"))}, "and dtype <U1"),
    ],
)
def test_arrays_that_do_not_belong_together(arrays, text, tmp_path):
    with pytest.raises(InvalidDataError, match=text):
        load_data(str(write(tmp_path / "data.npz", **arrays)))


@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_python_objects_are_never_read(suffix, tmp_path):
    x = np.array([1, "two", None], dtype=object)
    with pytest.raises(FileFormatError, match="arrays of Python objects are never read"):
        load_data(str(write(tmp_path / f"data{suffix}", x=x)))


def test_a_type_that_numpy_does_not_have(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(2, 3, dtype=torch.bfloat16)}, tmp_path / "data.safetensors")
    # With ml_dtypes, which other packages bring, NumPy has it, but computes with nothing of it.
    with pytest.raises(
        (FileFormatError, InvalidDataError), match=r"unreadable content|dtype bfloat16"
    ):
        load_data(str(tmp_path / "data.safetensors"))


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".safetensors"])
def test_damaged_files_are_one_kind_of_error(suffix, tmp_path):
    """Cut anywhere, or with any byte changed: an error of ours, or data."""
    content = write(tmp_path / f"whole{suffix}", x=X, y=Y).read_bytes()
    path = tmp_path / f"damaged{suffix}"
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(FileFormatError, match="unreadable content"):
            load_data(str(path))
    random = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(content)
        damaged[random.integers(len(content))] = random.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(TrispikeError):
            load_data(str(path))
