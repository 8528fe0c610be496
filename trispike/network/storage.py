"""One file per network: safetensors with a versioned JSON header.

Arrays are tensors, everything else is in the header. Writing and reading go through the fields of
the dataclasses, so that a field cannot be forgotten, and reading builds them anew, so that
everything is validated. Nothing in a file is ever executed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from trispike.errors import FileFormatError, InvalidNetworkError, TrispikeError
from trispike.network.connection import Connection, Conv2d, Dense, Identity, SumPool
from trispike.network.files import whole_file
from trispike.network.network import (
    FloatNetwork,
    Input,
    IntegerNetwork,
    Network,
    Population,
    Readout,
)
from trispike.network.neuron import FixedPointNeuron, Neuron
from trispike.network.plasticity import Plasticity

FORMAT = "trispike-network"
VERSION = 1

Arrays: TypeAlias = dict[str, npt.NDArray[Any]]
Header: TypeAlias = dict[str, Any]

_PARTS: dict[str, type] = {
    part.__name__: part
    for part in (
        *(FloatNetwork, IntegerNetwork, Input, Population, Readout, Neuron, FixedPointNeuron),
        *(Connection, SumPool, Conv2d, Dense, Identity, Plasticity),
    )
}

_LATER: dict[str, dict[str, Any]] = {
    name: {"fire_from": 0, "fire_until": None, "gains": ()}
    for name in (Neuron.__name__, FixedPointNeuron.__name__)
} | {Connection.__name__: {"plasticity": None}}
"""Fields that version 1 got later, with their defaults. A file leaves them out where they are at
their default, so that older files can be read, and digests of older networks stay what they are."""


def save(network: Network, path: str | os.PathLike[str]) -> None:
    """Write a network to one safetensors file, replacing it whole."""
    header, arrays = to_arrays(network)
    with whole_file(path) as temporary:
        save_file(arrays, temporary, metadata={FORMAT: json.dumps(header)})


def load(path: str | os.PathLike[str]) -> FloatNetwork | IntegerNetwork:
    """Read a network, validating all of it.

    Raises:
        FileFormatError: Not a trispike network, truncated, damaged, or of a newer format.
        FileNotFoundError: No such file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            if FORMAT not in metadata:
                raise FileFormatError(
                    f"file '{path}'",
                    got="a safetensors file without a trispike header",
                    expected="a network written by trispike",
                    fix="Convert a checkpoint first: trispike convert CKPT --arch NAME -o NET.",
                )
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            header = json.loads(metadata[FORMAT])
        return from_arrays(header, arrays)
    except FileFormatError:
        raise
    except (SafetensorError, json.JSONDecodeError, RecursionError) as error:
        raise FileFormatError(
            f"file '{path}'",
            got=f"unreadable content ({error})",
            expected="a network written by trispike",
            fix="The file is truncated or foreign; write it again with trispike convert.",
        ) from error
    except (TrispikeError, TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise FileFormatError(
            f"file '{path}'",
            got=f"a network that is not valid ({error})",
            expected="a network written by trispike",
            fix="The file was damaged or edited; write it again with trispike convert.",
        ) from error


def digest(network: Network) -> str:
    """SHA-256 of everything that a network computes with; the provenance is left out."""
    header, arrays = to_arrays(network)
    del header["network"]["provenance"]
    sha = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        sha.update(f"{name}:{array.dtype.str}:{array.shape}".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()


def equal(a: Network, b: Network) -> bool:
    """Whether two networks are of one kind and equal in all that they compute with."""
    return digest(a) == digest(b)


def to_arrays(network: Network) -> tuple[Header, Arrays]:
    """A network as JSON header and named arrays."""
    arrays: Arrays = {}
    packed = _pack(network, "", arrays)
    return {"format": FORMAT, "version": VERSION, "network": packed}, arrays


def from_arrays(header: Header, arrays: Mapping[str, npt.NDArray[Any]]) -> Any:
    """The inverse of :func:`to_arrays`.

    Raises:
        FileFormatError: Another version.
        InvalidNetworkError: A part breaks a rule of its own, a field or array is missing, unknown
            or of another type than :func:`to_arrays` gives it.
    """
    version = header.get("version")
    if version != VERSION:
        raise FileFormatError(
            "network header",
            got=f"format version {version!r}",
            expected=f"version {VERSION}",
            fix="Read it with the release of trispike that wrote it, or a newer one.",
        )
    left = dict(arrays)
    network = _unpack(header["network"], "", left)
    if not isinstance(network, FloatNetwork | IntegerNetwork):
        raise _malformed("network", f"a {type(network).__name__}", "a network")
    if left:
        raise _malformed("tensors", "unknown names " + ", ".join(sorted(left)), "none")
    _check_canonical(network, header, arrays)
    return network


def _check_canonical(network: Network, header: Header, arrays: Mapping[str, Any]) -> None:
    """Refuse what constructors would have mended: it was not written by :func:`to_arrays`."""
    own_header, own_arrays = to_arrays(network)
    if json.dumps(own_header, sort_keys=True) != json.dumps(header, sort_keys=True):
        raise _malformed("network header", "values of other types or forms", "those of its fields")
    for name, own in own_arrays.items():
        if arrays[name].dtype != own.dtype:
            raise _malformed(f"tensor {name!r}", f"dtype {arrays[name].dtype}", str(own.dtype))


def _pack(value: Any, path: str, arrays: Arrays) -> Any:
    if isinstance(value, np.ndarray):
        arrays[path] = value
        return {"tensor": path}
    if dataclasses.is_dataclass(value):
        inside = {
            f.name: _pack(getattr(value, f.name), f"{path}/{f.name}".lstrip("/"), arrays)
            for f in dataclasses.fields(value)
            if not _is_left_out(value, f.name)
        }
        return {"type": type(value).__name__, **inside}
    if isinstance(value, Mapping) and path == "populations":
        # As pairs, because the order of populations is part of the network.
        return [[name, _pack(item, f"{path}/{name}", arrays)] for name, item in value.items()]
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
        return [_pack(item, f"{path}/{n}", arrays) for n, item in enumerate(value)]
    return value


def _is_left_out(part: Any, field: str) -> bool:
    later = _LATER.get(type(part).__name__, {})
    return field in later and bool(getattr(part, field) == later[field])


def _unpack(packed: Any, path: str, left: Arrays) -> Any:
    """Build what :func:`_pack` took apart; tensors are taken out of ``left``."""
    if isinstance(packed, dict) and set(packed) == {"tensor"}:
        if packed["tensor"] not in left:
            raise _malformed("tensors", "nothing", repr(packed["tensor"]))
        return left.pop(packed["tensor"])
    if isinstance(packed, dict) and "type" in packed:
        return _unpack_part(packed, path, left)
    if path == "populations":
        return {name: _unpack(item, f"{path}/{name}", left) for name, item in packed}
    if isinstance(packed, list):
        return tuple(_unpack(item, f"{path}/{n}", left) for n, item in enumerate(packed))
    return packed


def _unpack_part(packed: Header, path: str, left: Arrays) -> Any:
    part = _PARTS.get(packed["type"])
    names = [] if part is None else [f.name for f in dataclasses.fields(part)]
    names = [name for name in names if name in packed or name not in _LATER.get(packed["type"], {})]
    if part is None or set(packed) != {"type", *names}:
        difference = ", ".join(sorted(set(packed) ^ {"type", *names}))
        raise _malformed(
            path or "network",
            f"type {packed['type']!r}, with missing or unknown fields: {difference}",
            "one of " + ", ".join(_PARTS) + " with all of its fields",
        )
    inside = {name: f"{path}/{name}".lstrip("/") for name in names}
    return part(
        **{
            name: packed[name]
            if name == "provenance"
            else _unpack(packed[name], inside[name], left)
            for name in names
        }
    )


def _malformed(what: str, got: str, expected: str) -> InvalidNetworkError:
    return InvalidNetworkError(what, got=got, expected=expected, fix="Write the file again.")
