"""The NIR engine: a network as it comes back from a NIR file.

It exports the network, reads the file with the public library, imports the graph, and runs what
came out on the reference engine. ``trispike verify --engines reference,nir`` proves with it that
nothing was lost on the way.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

from trispike.network import Network
from trispike.runtime.engine import Array, Progress, Recording, Result
from trispike.runtime.reference import ReferenceEngine


class NirEngine:
    """Runs a network after its way through a NIR file.

    Args:
        network: A float or an integer network.
        batch_size: Samples that are run together; bounds the memory.
        strict: Raise at the first state that leaves its range, instead of clipping and counting.
        dt: Duration of a time step in the file.

    Raises:
        InvalidSettingError: A batch size below 1, or a dt that is not positive.
        MissingDependencyError: nir is not installed.
    """

    name = "nir"

    def __init__(
        self, network: Network, *, batch_size: int = 32, strict: bool = False, dt: float = 1.0
    ) -> None:
        # The package is optional, and the other engines do not need it.
        from trispike.export.nir import read_network, write  # noqa: PLC0415

        with tempfile.TemporaryDirectory(prefix="trispike-") as folder:
            path = Path(folder) / "network.nir"
            write(network, path, dt=dt)
            self.network: Network = read_network(path)
        self._engine = ReferenceEngine(self.network, batch_size=batch_size, strict=strict)

    def run(
        self,
        inputs: Array,
        labels: Array | None = None,
        *,
        record: Recording = None,
        progress: Progress | None = None,
        per_sample: bool = False,
    ) -> Result:
        """Run raw data; see :class:`trispike.runtime.engine.Engine`.

        Raises:
            InvalidDataError: Data, labels or recording do not fit the network.
            SaturationError: A state left its range, in strict mode.
        """
        result = self._engine.run(
            inputs, labels, record=record, progress=progress, per_sample=per_sample
        )
        return dataclasses.replace(result, engine=self.name)
