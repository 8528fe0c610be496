"""The fast engine: whole test sets, equal to the reference in every bit."""

from __future__ import annotations

import os

from trispike.errors import MissingDependencyError
from trispike.network import Network
from trispike.network.learning import refuse_plastic
from trispike.runtime.engine import Array, Progress, Recording, Result, Run, check_positive

DEFAULT_MEMORY = 2 << 30
"""Bytes that a run may use for spikes and currents."""


class FastEngine:
    """Runs a network layer by layer, over all time steps of a batch at once.

    Convolutions and matrices are computed in int8 where the proved bound on their sums makes that
    exact, otherwise in float32, float64 or int64; neurons in compiled loops that count for the
    ledger on the way. Loops are run step by step. Results do not depend on batch size or threads.

    Integer networks give the integers of the reference engine. Float networks are computed in
    float64; their sums may differ from the reference's in the last bits, because they are added
    up in another order.

    Args:
        network: A float or an integer network.
        memory: Bytes to stay within, beyond the data, the weights and what is recorded.
        threads: Threads to use; None: one per core.
        strict: Raise at the first state that leaves its range, instead of clipping and counting.
        device: A device of torch, such as "cuda", to run on; None: the processor.

    Raises:
        InvalidSettingError: A number below 1, too little memory for one sample, or no such device.
        UnsupportedError: Sums that the device's float64 does not hold.
        MissingDependencyError: torch or numba is not installed.
    """

    name = "fast"

    def __init__(
        self,
        network: Network,
        *,
        memory: int = DEFAULT_MEMORY,
        threads: int | None = None,
        strict: bool = False,
        device: str | None = None,
    ) -> None:
        check_positive(memory=memory, threads=threads)
        check_packages()
        # Only now, so that importing this module needs neither torch nor numba.
        from trispike.runtime.fast.batch import Machine, Tally  # noqa: PLC0415
        from trispike.runtime.fast.device import DeviceMachine  # noqa: PLC0415

        refuse_plastic(network, "fast engine")
        self.network = network
        self.strict = strict
        self.threads = threads or len(os.sched_getaffinity(0))
        self._machine: Machine | DeviceMachine = (
            Machine(network, self.threads, memory)
            if device is None
            else DeviceMachine(network, device, memory)
        )
        self._tally = Tally

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
        run = Run(self.network, inputs, labels, record)
        tally = self._tally(self.network, run.sample_counter(per_sample))
        with self._machine.started():
            for batch in run.batches(self._machine.batch_size):
                self._machine.run(run, batch, tally, strict=self.strict)
                if progress:
                    progress(batch.stop - batch.start)
        return run.result(self.name, tally.ledger())


def check_packages() -> None:
    """Raise unless torch and numba can be imported.

    Raises:
        MissingDependencyError: One of them is not installed, or broken.
    """
    try:
        import numba  # noqa: F401, PLC0415 - optional
        import torch  # noqa: F401, PLC0415 - optional
    except ImportError as error:
        raise MissingDependencyError(
            "fast engine",
            got=str(error),
            expected="torch and numba",
            fix="Install them with: pip install 'trispike[fast]'",
        ) from error
