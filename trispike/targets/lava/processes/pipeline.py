"""The processes that a network becomes: input, populations, readout.

Each is a thin shell around a program of :mod:`trispike.targets.lava.program`, which it reaches as
a process parameter: processes are forked, so the program and the memory that it shares with the
session come along.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

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
    implements,
    requires,
    tag,
)
from trispike.targets.lava.program import InputProgram, PopulationProgram, ReadoutProgram


class InputProcess(AbstractProcess):
    """Sends graded spikes, int8."""

    def __init__(self, program: InputProgram) -> None:
        super().__init__(name=program.name, program=program)
        self.s_out = OutPort(shape=program.shape)


@implements(proc=InputProcess, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class InputModel(PyLoihiProcessModel):
    """NumPy model of :class:`InputProcess`."""

    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int8, precision=8)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._program: InputProgram = proc_params["program"]

    def run_spk(self) -> None:
        """One chip step."""
        self.s_out.send(self._program.fire())
        self._program.receive(())


class PopulationProcess(AbstractProcess):
    """A population with its incoming connections: spikes in, ternary spikes out, int8.

    It has one port per source, ``s_in_0``, ``s_in_1``, ..., in the order of ``program.sources``.
    """

    def __init__(self, program: PopulationProgram, shapes: list[tuple[int, ...]]) -> None:
        super().__init__(name=program.name, program=program)
        self.s_in = [InPort(shape=shape) for shape in shapes]
        for index, port in enumerate(self.s_in):
            setattr(self, f"s_in_{index}", port)
        self.s_out = OutPort(shape=program.shape)


@implements(proc=PopulationProcess, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PopulationModel(PyLoihiProcessModel):
    """NumPy model of :class:`PopulationProcess`; see :func:`with_ports`."""

    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int8, precision=2)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._program: PopulationProgram = proc_params["program"]

    def run_spk(self) -> None:
        """One chip step: fire, then receive."""
        self.s_out.send(self._program.fire())
        sources = range(len(self._program.sources))
        self._program.receive([getattr(self, f"s_in_{n}").recv() for n in sources])


class ReadoutProcess(AbstractProcess):
    """The output: spikes in, logits into shared memory."""

    def __init__(self, program: ReadoutProgram, shapes: list[tuple[int, ...]]) -> None:
        super().__init__(name=program.name, program=program)
        self.s_in = [InPort(shape=shape) for shape in shapes]
        for index, port in enumerate(self.s_in):
            setattr(self, f"s_in_{index}", port)


@implements(proc=ReadoutProcess, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class ReadoutModel(PyLoihiProcessModel):
    """NumPy model of :class:`ReadoutProcess`; see :func:`with_ports`."""

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self._program: ReadoutProgram = proc_params["program"]

    def run_spk(self) -> None:
        """One chip step: accumulate, then receive."""
        self._program.fire()
        sources = range(len(self._program.sources))
        self._program.receive([getattr(self, f"s_in_{n}").recv() for n in sources])


@functools.cache
def with_ports(model: type[Any], count: int) -> type[Any]:
    """A subclass of a model with so many input ports.

    Lava finds the ports of a model among its class attributes, and demands that each of them
    exists in the process: their number is part of the class.
    """
    ports = {
        f"s_in_{n}": LavaPyType(PyInPort.VEC_DENSE, np.int8, precision=8) for n in range(count)
    }
    return type(f"{model.__name__}{count}", (model,), {**ports, "__module__": model.__module__})
