"""Every exception that trispike raises on purpose.

```
TrispikeError
├── InvalidNetworkError       a neuron, population, connection or network breaks a rule of its own
├── InvalidDataError          inputs or labels do not fit the network, or hold NaN
├── InvalidSettingError       a name or number that the caller chose is unknown or out of range
├── FileFormatError           a file is not what it should be: truncated, foreign, too new
│   └── UnsafeFileError       a file would have to execute code to be read
├── CheckpointError           a checkpoint's keys or shapes contradict the architecture
├── UnsupportedError          refused by name: it cannot be represented exactly
├── FoldingError              a folded network does not behave like its source module
├── QuantizationError         a float network has no integer form within the limits asked for
├── SaturationError           a state left its range in strict mode
├── FetchError                a data set could not be fetched, or what came was another one
├── EngineError               an engine failed while it ran
│   └── EngineTimeoutError    an engine did not finish within its wall-clock limit
└── MissingDependencyError    an optional package is absent or of a wrong version
```

Each carries the same four facts, so that a message can be acted on without reading the source:
which object, what was got, what was expected, and what to do about it.
"""

from __future__ import annotations

__all__ = [
    "CheckpointError",
    "EngineError",
    "EngineTimeoutError",
    "FetchError",
    "FileFormatError",
    "FoldingError",
    "InvalidDataError",
    "InvalidNetworkError",
    "InvalidSettingError",
    "MissingDependencyError",
    "QuantizationError",
    "SaturationError",
    "TrispikeError",
    "UnsafeFileError",
    "UnsupportedError",
]


class TrispikeError(Exception):
    """Base of all errors that trispike raises on purpose.

    Args:
        subject: The object that is at fault, named as its owner would name it
            (``"population 'conv1'"``, ``"file 'net.pth'"``).
        got: What was found.
        expected: What would have been right.
        fix: What the reader can do now.
    """

    def __init__(self, subject: str, *, got: str, expected: str, fix: str) -> None:
        self.subject = subject
        self.got = got
        self.expected = expected
        self.fix = fix
        super().__init__(f"{subject}: got {got}; expected {expected}. {fix}")

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments would be lost by the default, and engines pass errors
        # between processes.
        return _rebuild, (type(self), self.subject, self.got, self.expected, self.fix)


def _rebuild(
    kind: type[TrispikeError], subject: str, got: str, expected: str, fix: str
) -> TrispikeError:
    return kind(subject, got=got, expected=expected, fix=fix)


class InvalidNetworkError(TrispikeError):
    """A neuron, population, connection or network breaks a rule of its own."""


class InvalidDataError(TrispikeError):
    """Inputs or labels do not fit the network, or hold values that are not numbers."""


class InvalidSettingError(TrispikeError):
    """A name or number that the caller chose is unknown or out of range; no file is at fault."""


class FileFormatError(TrispikeError):
    """A file is truncated, foreign, or of a format version that this release cannot read."""


class UnsafeFileError(FileFormatError):
    """A file could only be read by executing code that it contains; trispike never does."""


class CheckpointError(TrispikeError):
    """A checkpoint's keys or shapes contradict the architecture that it is loaded into."""


class UnsupportedError(TrispikeError):
    """Something that cannot be represented exactly, and is therefore refused by name."""


class FoldingError(TrispikeError):
    """A folded network does not behave like the module that it was made from."""


class QuantizationError(TrispikeError):
    """A float network has no integer form within the limits that were asked for."""


class SaturationError(TrispikeError):
    """A state variable left its range while the engine ran in strict mode."""

    @classmethod
    def at(cls, population: str, step: int, count: int) -> SaturationError:
        """The error for ``count`` values of a population that left their range at a time step."""
        return cls(
            f"population {population!r}",
            got=f"{count} state values out of range at time step {step}",
            expected="states that fit their width",
            fix="Quantize with a smaller state shift, or run without strict mode.",
        )


class FetchError(TrispikeError):
    """A data set could not be fetched, or what came is not what it should be."""


class EngineError(TrispikeError):
    """An engine failed while it ran a network."""


class EngineTimeoutError(EngineError):
    """An engine did not finish within its wall-clock limit and was torn down."""


class MissingDependencyError(TrispikeError, ImportError):
    """An optional package is absent, or present in a version that is known not to work."""
