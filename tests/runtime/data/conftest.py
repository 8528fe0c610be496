"""Tiny data sets in archives, and programs that stand in for package clients."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from trispike.runtime.data.packaged import CIFAR10, FASHION_MNIST, MNIST, PackagedSet
from trispike.runtime.data.packages import CLIENTS
from trispike.runtime.data.pixels import Content, Pixels
from trispike.runtime.data.samples import Part

COUNTS: Mapping[Part, int] = {"train": 5, "test": 2}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """The cache of the test, which is not there yet."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("TRISPIKE_CACHE", str(folder))
    return folder


@dataclass(frozen=True)
class Programs:
    """The only folder on the path."""

    folder: Path

    def add(self, name: str, script: str) -> None:
        """A shell script; what it is called with is kept."""
        self._write(name, f'#!/bin/sh\nPATH=/usr/bin:/bin\necho "$@" >> "$0.calls"\n{script}\n')

    def add_broken(self, name: str) -> None:
        """One that cannot be executed, although it looks like it."""
        self._write(name, "#!/nowhere/sh\n")

    def calls(self, name: str) -> list[str]:
        """The arguments of each call."""
        path = self.folder / f"{name}.calls"
        return path.read_text().splitlines() if path.exists() else []

    def _write(self, name: str, content: str) -> None:
        path = self.folder / name
        path.write_text(content)
        path.chmod(0o755)


@pytest.fixture
def programs(tmp_path, monkeypatch) -> Programs:
    """None at first."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return Programs(folder)


@dataclass(frozen=True)
class Tiny:
    """A data set like a real one, with few images."""

    data_set: PackagedSet
    archive: Path
    pixels: Mapping[Part, Pixels]


@pytest.fixture(params=[FASHION_MNIST, MNIST, CIFAR10], ids=lambda data_set: data_set.name)
def tiny(request, tmp_path, programs) -> Tiny:
    """Each of the packaged ones, with programs that fetch it."""
    return make_tiny(request.param, tmp_path, programs)


@pytest.fixture
def tiny_mnist(tmp_path, programs) -> Tiny:
    """One of them."""
    return make_tiny(MNIST, tmp_path, programs)


@pytest.fixture
def tiny_fashion(tmp_path, programs) -> Tiny:
    """The one that may be installed."""
    return make_tiny(FASHION_MNIST, tmp_path, programs)


def make_tiny(original: PackagedSet, tmp_path: Path, programs: Programs) -> Tiny:
    """The same data set with random images in an archive that programs bring."""
    random = np.random.default_rng(0)
    write = _png_pages if original.name == "cifar10" else _idx
    pixels, files = {}, {}
    for part, count in COUNTS.items():
        shape = original.content[part].shape[1:]
        x = random.integers(0, 256, (count, *shape), np.uint8)
        pixels[part] = Pixels(x, random.integers(0, 10, count, np.uint8))
        names = original.files[part]
        for name, content in zip(names, write(pixels[part], len(names)), strict=True):
            files[name] = gzip.compress(content) if name.endswith(".gz") else content
    client = original.package.client
    archive = tmp_path / f"archive{CLIENTS[client].suffix}"
    archive.write_bytes(tarred(files, "w:gz" if client == "npm" else "w"))
    if client == "npm":
        programs.add("npm", f"cp {archive} .")
    else:  # The fake .deb is what dpkg-deb would make of a true one.
        programs.add("apt-get", f"cp {archive} .")
        programs.add("dpkg-deb", 'cat "$2"')
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    tiny_set = dataclasses.replace(
        original,
        package=dataclasses.replace(original.package, sha256=sha256),
        content={part: content_of(pixels[part]) for part in COUNTS},
        installed=None if original.installed is None else tmp_path / "installed",
    )
    return Tiny(tiny_set, archive, pixels)


def content_of(pixels: Pixels) -> Content:
    """What a data set of these says."""
    sha256 = hashlib.sha256(pixels.x.tobytes() + pixels.y.tobytes()).hexdigest()
    return Content(shape=pixels.x.shape, sha256=sha256)


def tarred(files: Mapping[str, bytes], mode: str) -> bytes:
    """A tar archive, with members that would do harm if all were extracted."""
    target = io.BytesIO()
    hostile = {"../escaped": b"1", "/tmp/trispike-escaped": b"2"}
    with tarfile.open(fileobj=target, mode=mode) as tar:  # type: ignore[call-overload]
        for name, content in {**hostile, **files}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return target.getvalue()


def _idx(pixels: Pixels, files: int) -> Sequence[bytes]:
    assert files == 2
    return [idx(pixels.x[:, 0]), idx(pixels.y)]


def idx(array: npt.NDArray[np.uint8]) -> bytes:
    """An IDX file of bytes."""
    head = bytes([0, 0, 8, array.ndim])
    return head + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def _png_pages(pixels: Pixels, files: int) -> Sequence[bytes]:
    image = pytest.importorskip("PIL.Image")
    contents = []
    for page in np.array_split(pixels.x, files - 1):
        target = io.BytesIO()
        rows = page.transpose(0, 2, 3, 1).reshape(len(page), 1024, 3)
        image.fromarray(rows).save(target, "PNG")
        contents.append(target.getvalue())
    return [*contents, json.dumps(pixels.y.tolist()).encode()]
