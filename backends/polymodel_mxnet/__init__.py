"""Apache MXNet backend of polymodel. Importing this package imports no framework; `load` does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polymodel.errors import BackendUnavailable

if TYPE_CHECKING:
    from polymodel.backend import Backend

EXTRA = "mxnet"
"""The extra that installs the framework: pip install -e ".[mxnet]"."""

FRAMEWORK = "mxnet"
"""The distribution whose version `polymodel backends` shows."""


def load() -> Backend:
    """Import Apache MXNet and make the backend: the entry point `polymodel.backends`.

    Raises:
        BackendUnavailable: MXNet is not installed or does not load.
    """
    try:
        from polymodel_mxnet.backend import MXNetBackend
    except ModuleNotFoundError as error:
        if error.name != FRAMEWORK:
            raise BackendUnavailable(f"Apache MXNet is installed but does not load: {error}") from error
        raise BackendUnavailable(
            f'Apache MXNet is not installed: pip install -e ".[{EXTRA}]" in a checkout of polymodel installs it'
        ) from error
    except (ImportError, OSError, AttributeError) as error:
        raise BackendUnavailable(f"Apache MXNet is installed but does not load: {error}") from error
    return MXNetBackend()
