"""Every exception that polymodel raises on purpose.

    PolymodelError
    ├── GraphError              a graph that means nothing
    │   ├── ShapeError          (ValueError) sizes that do not fit together
    │   ├── DtypeError          (TypeError)  element types that do not fit together
    │   ├── NeedsStaticShape    a rule wants a size that is unknown until the input arrives (handled by Program)
    │   └── NeedsHost           a value that no plan can hold: a sequence, an unknown rank (handled by Program)
    ├── ConfigError             (ValueError) an unknown key, a wrong type, an impossible value
    ├── BackendError
    │   ├── UnknownBackend      (ValueError) no such name
    │   ├── BackendUnavailable  (ImportError) its framework is missing or broken
    │   ├── DeviceUnavailable   (ValueError) the machine has no such device
    │   └── Unsupported         an operator, dtype or option that the backend declares it lacks
    ├── DataError               (ValueError) a batch or data set that does not fit the model
    │   └── CorruptSample       a record, an image or a row that cannot be read
    ├── TrainingError
    │   └── NonFiniteLoss       (ArithmeticError) the loss became NaN or infinite
    ├── CheckpointError         a checkpoint that is incomplete, corrupt, or of another model
    └── ArtifactError           an ONNX file that cannot be read or written
        └── VerificationError   an artifact whose runs disagree

A message names what was received, what was expected and the way out.
"""


class PolymodelError(Exception):
    """Base of all errors that polymodel raises on purpose."""


class GraphError(PolymodelError):
    """A graph that means nothing.

    Attributes:
        module: path and class of the module in whose call it was raised; the message begins with it.
    """

    module: str | None = None


class ShapeError(GraphError, ValueError):
    """Sizes that do not fit together."""


class DtypeError(GraphError, TypeError):
    """Element types that do not fit together."""


class NeedsStaticShape(GraphError):
    """A rule wants a size or a value that is unknown until the input arrives."""


class NeedsHost(GraphError):
    """A value that no plan can hold: a sequence, an optional, a string, a rank that is known once it is computed."""


class ConfigError(PolymodelError, ValueError):
    """An unknown key, a wrong type or an impossible value in a configuration."""


class BackendError(PolymodelError):
    """Something a backend cannot do."""


class UnknownBackend(BackendError, ValueError):
    """A backend name that nobody registered."""


class BackendUnavailable(BackendError, ImportError):
    """A backend whose framework is missing or broken."""


class DeviceUnavailable(BackendError, ValueError):
    """A device that this machine or this framework build does not have."""


class Unsupported(BackendError):
    """An operator, dtype or option that a backend declares it lacks."""


class DataError(PolymodelError, ValueError):
    """A batch or a data set that does not fit the model."""


class CorruptSample(DataError):
    """A record, an image or a row that cannot be read.

    Attributes:
        where: file and offset, line or path.
        reason: what is wrong there.
    """

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(where, reason)
        self.where, self.reason = where, reason

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


class TrainingError(PolymodelError):
    """Training cannot go on."""


class NonFiniteLoss(TrainingError, ArithmeticError):
    """The loss became NaN or infinite."""


class CheckpointError(PolymodelError):
    """A checkpoint that is incomplete, corrupt, or of another model."""


class ArtifactError(PolymodelError):
    """An ONNX file that cannot be read or written."""


class VerificationError(ArtifactError):
    """An artifact whose runs disagree."""


class PrecisionWarning(UserWarning):
    """A backend has no kernels for a half type and does something slower instead."""
