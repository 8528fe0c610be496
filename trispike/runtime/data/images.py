"""The formats in which packages hold images."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from trispike.errors import MissingDependencyError
from trispike.runtime.data.pixels import Pixels

CIFAR_SHAPE = (3, 32, 32)


def read_idx(files: Sequence[bytes]) -> Pixels:
    """The format of MNIST: a file of images and one of classes, plain or with gzip.

    Raises:
        ValueError: Not that format.
        OSError, EOFError, zlib.error: Damaged by gzip's standards.
    """
    images, classes = (_idx(gzip.decompress(f) if f[:2] == b"\x1f\x8b" else f) for f in files)
    return Pixels(images[:, None], classes)


def _idx(content: bytes) -> npt.NDArray[np.uint8]:
    """Two zeros, the type (8: bytes), the number of axes, the size of each, the values."""
    if content[:3] != b"\0\0\x08":
        raise ValueError("no IDX file of bytes")
    start = 4 + 4 * content[3]
    shape = np.frombuffer(content[4:start], ">u4")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def read_png_pages(files: Sequence[bytes]) -> Pixels:
    """CIFAR-10's images as PNGs of which each row is one image (H, W, C), and classes as JSON.

    Args:
        files: The PNGs, and then the classes.

    Raises:
        MissingDependencyError: Pillow is not installed.
    """
    check_pillow()
    from PIL import Image  # noqa: PLC0415 - optional

    channels, height, width = CIFAR_SHAPE
    classes = np.array(json.loads(files[-1]), np.uint8)
    x = np.empty((len(classes), *CIFAR_SHAPE), np.uint8)
    done = 0
    for file in files[:-1]:
        with Image.open(io.BytesIO(file), formats=["PNG"]) as page:
            rows = np.asarray(page).reshape(-1, height, width, channels)
        x[done : done + len(rows)] = rows.transpose(0, 3, 1, 2)
        done += len(rows)
    return Pixels(x, classes)


def check_pillow() -> None:
    """Look for what reads PNGs.

    Raises:
        MissingDependencyError: Pillow is not installed.
    """
    try:
        import PIL.Image  # noqa: F401, PLC0415 - optional
    except ImportError as error:
        raise MissingDependencyError(
            "data set 'cifar10'",
            got=str(error),
            expected="Pillow, which reads its images the first time",
            fix="Install it with: pip install 'trispike[data]'",
        ) from error
