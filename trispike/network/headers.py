"""Reading files that say what they are: a JSON header with a version, and arrays."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError
from safetensors import safe_open

from trispike.errors import FileFormatError, InvalidDataError

Arrays: TypeAlias = dict[str, npt.NDArray[Any]]
Content = TypeVar("Content")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileKind:
    """A kind of file with a versioned header."""

    name: str
    """What people call it: ``"ledger"``."""
    format: str
    """Key of the header in the file."""
    version: int
    """The one that is read."""
    fix: str
    """How such a file is made."""

    def read(
        self,
        path: str | os.PathLike[str],
        build: Callable[[str, Arrays], Content],
        parts: Callable[[Path, str], tuple[str | None, Arrays]] | None = None,
    ) -> Content:
        """Read a file, validating all of it.

        Args:
            path: The file.
            build: Makes the content of header and arrays; what it raises is told as a defect of
                the file.
            parts: Takes header and arrays out of the file; by default of safetensors.

        Raises:
            FileFormatError: Another kind of file, truncated, damaged, or of another version.
            FileNotFoundError: No such file.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"no such file: {path}")
        try:
            header, arrays = (parts or safetensors_parts)(path, self.format)
            if header is None:
                raise self._error(path, f"a file without the header of a {self.name}")
            version = json.loads(header).get("version")
            if version != self.version:
                raise self._error(path, f"format version {version!r}", f"version {self.version}")
            return build(header, arrays)
        except FileFormatError:
            raise
        except ValidationError as error:
            got = f"a header that is not valid ({problems(error, whole='header')})"
            raise self._error(path, got) from error
        except InvalidDataError as error:
            raise self._error(path, f"content that is not valid ({error})") from error
        except Exception as error:  # A damaged file may raise whatever a parser can raise.
            got = f"unreadable content ({type(error).__name__}: {error})"
            raise self._error(path, got) from error

    def _error(self, path: Path, got: str, expected: str = "") -> FileFormatError:
        return FileFormatError(
            f"file '{path}'",
            got=got,
            expected=expected or f"a {self.name} of trispike",
            fix=self.fix,
        )


def safetensors_parts(path: Path, key: str) -> tuple[str | None, Arrays]:
    """Header and arrays of a safetensors file; the header is None if there is none."""
    with safe_open(path, framework="np") as file:
        arrays: Mapping[str, npt.NDArray[Any]] = {
            name: np.asarray(file.get_tensor(name))
            for name in file.keys()  # noqa: SIM118
        }
        return (file.metadata() or {}).get(key), dict(arrays)


def problems(error: ValidationError, whole: str = "file", most: int | None = None) -> str:
    """What is wrong with a file, in one line.

    Args:
        error: Of its content.
        whole: What a problem is called that is of no entry.
        most: How many to name; by default all.
    """
    found = [f"{'.'.join(map(str, e['loc'])) or whole}: {e['msg']}" for e in error.errors()]
    more = f", and {len(found) - most} more" if most is not None and len(found) > most else ""
    return "; ".join(found[:most]) + more
