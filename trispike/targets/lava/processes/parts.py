"""A connection and a population as separate processes, to be wired with Lava's own.

The pipeline does not use them: it computes a population together with its connections in one
process. They take part in any Lava network, and the tests compare them with Lava's Dense, Conv and
LIF. They know nothing of samples: nobody resets them.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from trispike.errors import UnsupportedError
from trispike.network import Connection, FixedPointNeuron, State
from trispike.network.network import PAYLOAD_LIMIT
from trispike.network.schedules import scheduled_fields
from trispike.targets.lava.imports import (
    CPU,
    AbstractProcess,
    InPort,
    LavaPyType,
    LoihiProtocol,
    OutPort,
    PyInPort,
    PyLoihiProcessModel,
    PyOutPort,
    Var,
    implements,
    requires,
    tag,
)
from trispike.targets.lava.kernels import Kernel, compile_connection, largest_sum

PORT_LIMIT = 1 << 31
"""Larger sums would wrap around in the ports."""


class ConnectionProcess(AbstractProcess):
    """An integer connection: ternary or graded spikes in, sums out.

    As with Lava's own connections, a sum leaves one step after its spikes arrived, or
    ``connection.delay`` steps later still. Several sources are connected to the one port, which
    adds them up.

    Args:
        connection: An integer connection; the names in it are not used.
        source_shape: Shape of the port ``s_in``.
        payload: Largest magnitude that arrives; the model fails at a larger one.
        name: Name of the process.

    Raises:
        UnsupportedError: Sums can exceed 32 bits.
    """

    def __init__(
        self,
        connection: Connection,
        source_shape: tuple[int, ...],
        *,
        payload: int = PAYLOAD_LIMIT,
        name: str | None = None,
    ) -> None:
        if (bound := largest_sum(connection, payload) << connection.exponent) >= PORT_LIMIT:
            raise UnsupportedError(
                f"connection {'+'.join(connection.sources)}->{connection.target}",
                got=f"sums of up to {bound} from spikes of up to {payload}",
                expected=f"less than {PORT_LIMIT}, because Lava's ports are 32 bits wide",
                fix="State the payload that really arrives (1 for ternary spikes), or run the "
                "network with the Lava engine, whose sums do not travel through ports.",
            )
        kernel = compile_connection(connection, source_shape, payload)
        super().__init__(name=name, kernel=kernel, payload=payload, delay=connection.delay)
        self.s_in = InPort(shape=source_shape)
        self.a_out = OutPort(shape=connection.output_shape(source_shape))


@implements(proc=ConnectionProcess, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class ConnectionModel(PyLoihiProcessModel):
    """NumPy model of :class:`ConnectionProcess`."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=8)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=32)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._kernel: Kernel = proc_params["kernel"]
        self._payload: int = proc_params["payload"]
        self._line: deque[Any] = deque(maxlen=proc_params["delay"] + 1)

    def run_spk(self) -> None:
        """One chip step."""
        full = len(self._line) == self._line.maxlen
        out = self._line[-1] if full else np.zeros(self.a_out._shape, np.int64)
        self.a_out.send(out)
        spikes = self.s_in.recv()
        if max(spikes.max(), -spikes.min()) > self._payload:
            raise ValueError(f"a spike of magnitude {np.abs(spikes).max()} > {self._payload}")
        self._line.appendleft(self._kernel(spikes).reshape(self.a_out._shape))


class NeuronProcess(AbstractProcess):
    """A population without connections: sums in, ternary spikes out.

    Its variables are the state after the step: ``i`` the current (Lava's u), ``c`` what was
    carried over, ``v`` the membrane potential after the reset.

    Args:
        neuron: Parameters.
        shape: Shape of the population.
        name: Name of the process.

    Raises:
        UnsupportedError: The neuron depends on the time step.
    """

    def __init__(
        self, neuron: FixedPointNeuron, shape: tuple[int, ...], name: str | None = None
    ) -> None:
        neuron.check_shape(shape)
        for field in scheduled_fields(neuron):
            raise UnsupportedError(
                f"neuron field {field!r}",
                got=repr(getattr(neuron, field)),
                expected="a neuron that does the same at every time step, because the process "
                "does not know where a sample begins",
                fix="Run the network with the Lava engine, which does.",
            )
        super().__init__(name=name, neuron=neuron)
        self.a_in = InPort(shape=shape)
        self.s_out = OutPort(shape=shape)
        initial = neuron.initial_state(1, shape)
        self.i = Var(shape=shape, init=initial.i[0])
        self.c = Var(shape=shape, init=initial.c[0])
        self.v = Var(shape=shape, init=initial.v[0])


@implements(proc=NeuronProcess, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class NeuronModel(PyLoihiProcessModel):
    """NumPy model of :class:`NeuronProcess`."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=32)
    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int8, precision=2)
    i: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=24)
    c: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=24)
    v: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=24)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._neuron: FixedPointNeuron = proc_params["neuron"]
        self._fired: Any = None

    def run_spk(self) -> None:
        """One chip step."""
        current = self.a_in.recv()[None]
        # The variables hold the state, since they can be set between two runs.
        if self._fired is None:
            self._fired = np.zeros(current.shape, bool)
        i, c, v = (x[None].astype(np.int64) for x in (self.i, self.c, self.v))
        state = State(i, c, v, self._fired)
        step = self._neuron.step(state, current, 0)
        self.i[:], self.c[:], self.v[:] = (x[0] for x in step.state[:3])
        self._fired = step.state.fired
        self.s_out.send(step.spikes[0])
