"""The TensorFlow backend. Importing this package imports no framework; `load` does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polymodel.errors import BackendUnavailable

if TYPE_CHECKING:
    from polymodel.backend import Backend

FRAMEWORK = "tensorflow"
"""Import name of the framework."""

EXTRA = "tensorflow"
"""Extra of the distribution that installs it."""


def load() -> Backend:
    """Import TensorFlow and return the backend.

    Raises:
        BackendUnavailable: TensorFlow is not installed or does not load.
    """
    try:
        from polymodel_tensorflow.backend import TensorFlowBackend
    except ImportError as error:
        raise BackendUnavailable(
            f"backend 'tensorflow' needs TensorFlow, which does not load here ({error}): "
            f"pip install 'polymodel-ml[{EXTRA}]'"
        ) from error
    return TensorFlowBackend()
