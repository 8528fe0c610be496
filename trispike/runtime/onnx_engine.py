"""The ONNX engine: a network as an ONNX model in onnxruntime, equal to the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from trispike.errors import (
    EngineError,
    MissingDependencyError,
)
from trispike.network import Network
from trispike.runtime.engine import (
    TRACES,
    Array,
    Progress,
    Recording,
    Result,
    Run,
    check_positive,
    check_saturations,
)
from trispike.runtime.ledger import LedgerCounter, payload_counts

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession

ERRORS_ONLY = 3
"""Severity from which onnxruntime logs."""

PROTOBUF_LIMIT = (1 << 31) - 1
"""Bytes of a model that can be handed over in memory."""


class OnnxEngine:
    """Runs a network in onnxruntime, on the CPU.

    Integer networks give the integers of the reference engine, in either carrier. Float networks
    are computed in float64; their sums may differ from the reference's in the last bits, because
    they are added up in another order.

    Args:
        network: A float or an integer network.
        batch_size: Samples that are run together; bounds the memory.
        strict: Raise at the first state that leaves its range, instead of clipping and counting.
        carrier: What spikes travel in; by default float32 in an integer network, float64 in a
            float one.
        threads: Threads of one operator; None: one per core.

    Raises:
        InvalidSettingError: A number below 1, or a carrier that the network cannot travel in.
        UnsupportedError: A sum that no type holds exactly, or more than 2 GB of weights.
        MissingDependencyError: onnx or onnxruntime is not installed.
    """

    name = "onnx"

    def __init__(
        self,
        network: Network,
        *,
        batch_size: int = 32,
        strict: bool = False,
        carrier: str | None = None,
        threads: int | None = None,
    ) -> None:
        check_positive(batch_size=batch_size, threads=threads)
        check_onnxruntime()
        # Only now, so that importing this module needs neither onnx nor onnxruntime.
        from trispike.export.onnx import build_model  # noqa: PLC0415

        self.network = network
        self.batch_size = batch_size
        self.strict = strict
        self.carrier = carrier or ("float32" if network.kind == "integer" else "float64")
        self.threads = threads
        self._build = build_model
        self._sessions: dict[tuple[tuple[str, tuple[str, ...]], ...], InferenceSession] = {}
        self._session({})

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
            EngineError: onnxruntime failed.
        """
        run = Run(self.network, inputs, labels, record)
        samples = run.sample_counter(per_sample)
        session = self._session(_with_counts(run) if samples else run.wanted)
        counter = LedgerCounter(self.network, samples)
        for batch in run.batches(self.batch_size):
            values = self._values(session, run.encoded[batch])
            run.step_logits[batch] = values["step_logits"]
            self._check(values)
            _count(counter, self.network, run.encoded[batch], values)
            if samples:
                samples.add_input(batch, run.encoded[batch])
                for name in self.network.populations:
                    samples.add_trains(name, batch, values[f"{name}.s"])
                    samples.add_updates(name, batch, values[f"{name}.received"])
            for name, traces in run.records.items():
                for trace, target in traces.items():
                    target[batch] = values[f"{name}.{trace}"]
            if progress:
                progress(batch.stop - batch.start)
        return run.result(self.name, counter.ledger())

    def _session(self, wanted: Mapping[str, tuple[str, ...]]) -> InferenceSession:
        """The session that puts out what is wanted, and what the ledger needs."""
        key = tuple(wanted.items())
        if key not in self._sessions:
            observe = {name: ("counts", *wanted.get(name, ())) for name in self.network.populations}
            model = self._build(self.network, "sequence", self.carrier, observe=observe)
            self._sessions[key] = open_session(_serialized(model), self.threads)
        return self._sessions[key]

    def _values(self, session: InferenceSession, encoded: Array) -> dict[str, Array]:
        names = [output.name for output in session.get_outputs()]
        return run_session(session, {"x": encoded.astype(self.carrier, copy=False)}, names)

    def _check(self, values: Mapping[str, Array]) -> None:
        if self.strict:
            names = self.network.populations
            check_saturations(self.network, {n: values[f"{n}.saturations"] for n in names})


def check_onnxruntime() -> None:
    """Raise unless onnxruntime can be imported.

    Raises:
        MissingDependencyError: It is not installed, or broken.
    """
    try:
        import onnxruntime  # noqa: F401, PLC0415 - optional
    except ImportError as error:
        raise MissingDependencyError(
            "package 'onnxruntime'",
            got=str(error),
            expected="onnxruntime 1.18 or later",
            fix="Install it with: pip install 'trispike[onnx]'",
        ) from error


def open_session(model: bytes | str, threads: int | None = None) -> InferenceSession:
    """A session on the CPU.

    Args:
        model: A model in memory, or the path of one that ``load_model`` has accepted.
        threads: Threads of one operator; None: one per core.

    Raises:
        EngineError: onnxruntime refuses the model.
        MissingDependencyError: onnxruntime is not installed.
    """
    check_onnxruntime()
    import onnxruntime  # noqa: PLC0415 - optional

    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    options.use_deterministic_compute = True
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = threads or 0
    # Waiting threads that spin take the cores from whatever else runs; it can cost 4x the time.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base class
        raise _failed(error) from error


def run_session(
    session: InferenceSession, feeds: Mapping[str, Array], names: Sequence[str]
) -> dict[str, Array]:
    """Outputs of a session by name.

    Raises:
        EngineError: onnxruntime failed.
    """
    try:
        values = session.run(list(names), dict(feeds))
    except Exception as error:  # onnxruntime's errors share no base class
        raise _failed(error) from error
    return dict(zip(names, values, strict=True))


def _failed(error: Exception) -> EngineError:
    return EngineError(
        "onnxruntime",
        got=f"{type(error).__name__}: {error}",
        expected="a model that it runs",
        fix="Use fewer samples at once if the memory is full; else report this with the network.",
    )


def _serialized(model: ModelProto) -> bytes:
    size = model.ByteSize()
    if size > PROTOBUF_LIMIT:
        raise EngineError(
            "onnx engine",
            got=f"a model of {size:,} bytes",
            expected=f"at most {PROTOBUF_LIMIT:,}, the limit of what is passed in memory",
            fix="Use the reference engine, or run the exported file.",
        )
    return model.SerializeToString(deterministic=True)


def _with_counts(run: Run) -> dict[str, tuple[str, ...]]:
    """What was asked for, and what counts per sample need of every population."""
    wanted = {name: {*run.wanted.get(name, ()), "s"} for name in run.network.populations}
    return {
        name: ("received", *(t for t in TRACES if t in traces)) for name, traces in wanted.items()
    }


def _count(
    counter: LedgerCounter, network: Network, encoded: Array, values: Mapping[str, Array]
) -> None:
    """Count what happened in one batch."""
    counter.add_samples(len(encoded))
    emitted: dict[str, tuple[Array, Array | None]] = {
        network.input.name: payload_counts(network, encoded)
    }
    for name in network.populations:
        emitted[name] = (values[f"{name}.fired"], None)
        spikes, net, with_input = (
            values[f"{name}.{what}"].reshape(network.steps, -1).sum(axis=1, dtype=np.int64)
            for what in ("fired", "net", "inputs")
        )
        counter.add_events(
            name,
            positive=(spikes + net) // 2,
            negative=(spikes - net) // 2,
            with_input=with_input,
            saturations=values[f"{name}.saturations"],
        )
    counter.add_emitted(emitted)
