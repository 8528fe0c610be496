"""A connection and a population as separate processes, to be wired with Lava's own.

The pipeline does not use them: it computes a population together with its connections in one
process. They take part in any Lava network, and the tests compare them with Lava's Dense, Conv and
LIF. They know nothing of samples: nobody resets them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any

import numpy as np

from trispike.errors import UnsupportedError
from trispike.network import Connection, Dense, FixedPointNeuron, Plasticity, State
from trispike.network.learning import widest
from trispike.network.network import PAYLOAD_LIMIT
from trispike.network.plasticity import PlasticState
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


def check_ports(connection: Connection, payload: int) -> None:
    """Raise UnsupportedError if sums do not fit into the ports."""
    if (bound := largest_sum(connection, payload) << connection.exponent) >= PORT_LIMIT:
        raise UnsupportedError(
            f"connection {'+'.join(connection.sources)}->{connection.target}",
            got=f"sums of up to {bound} from spikes of up to {payload}",
            expected=f"less than {PORT_LIMIT}, because Lava's ports are 32 bits wide",
            fix="State the payload that really arrives (1 for ternary spikes), or run the "
            "network with the Lava engine, whose sums do not travel through ports.",
        )


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
        UnsupportedError: Sums can exceed 32 bits, or the connection is plastic.
    """

    def __init__(
        self,
        connection: Connection,
        source_shape: tuple[int, ...],
        *,
        payload: int = PAYLOAD_LIMIT,
        name: str | None = None,
    ) -> None:
        if connection.plasticity is not None:
            raise UnsupportedError(
                f"connection {'+'.join(connection.sources)}->{connection.target}",
                got="a plasticity rule",
                expected="fixed weights",
                fix="Use PlasticConnectionProcess.",
            )
        check_ports(connection, payload)
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


class PlasticConnectionProcess(AbstractProcess):
    """A connection that learns: spikes in, sums out, and the target's spikes back in.

    Its step is that of :class:`ConnectionProcess`: what arrives at ``s_in`` in one step leaves as a
    sum in the next one, or ``connection.delay`` steps later still. What the target fires on that
    sum arrives at ``post_in`` in the same step, in which the rule then changes the weights. All of
    a run is one sample, whose last step never comes: a rule that updates at the end of a sample
    changes nothing here.

    ``fine`` holds the weights in units of 2**-fine_bits, ``pre`` and ``post`` the traces.
    Experimental.

    Args:
        connection: An integer connection with a plasticity rule; the names in it are not used.
        source_shape: Shape of the port ``s_in``.
        payload: Largest magnitude that arrives; the model fails at a larger one.
        name: Name of the process.

    Raises:
        UnsupportedError: Sums can exceed 32 bits, or the connection has no rule.
    """

    def __init__(
        self,
        connection: Connection,
        source_shape: tuple[int, ...],
        *,
        payload: int = PAYLOAD_LIMIT,
        name: str | None = None,
    ) -> None:
        rule = connection.plasticity
        if rule is None:
            raise UnsupportedError(
                f"connection {'+'.join(connection.sources)}->{connection.target}",
                got="fixed weights",
                expected="a plasticity rule",
                fix="Use ConnectionProcess.",
            )
        check_ports(widest(connection), payload)
        super().__init__(name=name, connection=connection, payload=payload)
        self.s_in = InPort(shape=source_shape)
        self.a_out = OutPort(shape=connection.output_shape(source_shape))
        self.post_in = InPort(shape=connection.output_shape(source_shape))
        state = rule.start(connection.operator.weight)
        self.fine = Var(shape=state.fine.shape, init=state.fine)
        self.pre = Var(shape=state.pre.shape, init=state.pre)
        self.post = Var(shape=state.post.shape, init=state.post)


@implements(proc=PlasticConnectionProcess, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PlasticConnectionModel(PyLoihiProcessModel):
    """NumPy model of :class:`PlasticConnectionProcess`."""

    s_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=8)
    a_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=32)
    post_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32, precision=2)
    fine: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=24)
    pre: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=16)
    post: np.ndarray[Any, Any] = LavaPyType(np.ndarray, np.int32, precision=16)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._connection: Connection = proc_params["connection"]
        self._payload: int = proc_params["payload"]
        self._line: deque[Any] = deque(maxlen=self._connection.delay + 1)

    def run_spk(self) -> None:
        """One chip step: send, receive, learn."""
        full = len(self._line) == self._line.maxlen
        received = self._line[-1] if full else np.zeros(self.s_in._shape, np.int64)
        rule = self._connection.plasticity
        assert rule is not None
        # The variables hold the state, since they can be set between two runs.
        state = PlasticState(*(x.astype(np.int64) for x in (self.fine, self.pre, self.post)))
        operator = Dense(weight=rule.weights(state))
        present = replace(self._connection, operator=operator, plasticity=None)
        self.a_out.send(present.current(received[None])[0])
        spikes = self.s_in.recv().astype(np.int64)
        if max(spikes.max(), -spikes.min()) > self._payload:
            raise ValueError(f"a spike of magnitude {np.abs(spikes).max()} > {self._payload}")
        self._line.appendleft(spikes)
        self._learn(rule, state, received, self.post_in.recv())

    def _learn(self, rule: Plasticity, state: PlasticState, received: Any, fired: Any) -> None:
        connection = self._connection
        pooled = connection.pool.apply(received[None]) if connection.pool else received
        after = rule.step(
            state,
            connection.operator.weight,
            connection.bits,
            pooled.reshape(-1),
            fired.reshape(-1),
            last=False,
        )
        self.fine[:], self.pre[:], self.post[:] = after


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
