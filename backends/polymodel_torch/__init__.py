"""PyTorch backend of polymodel. Importing this package imports no framework; `load` does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polymodel.errors import BackendUnavailable

if TYPE_CHECKING:
    from polymodel.backend import Backend

EXTRA = "torch"
"""The extra that installs the framework: pip install -e ".[torch]"."""

FRAMEWORK = "torch"
"""The distribution whose version `polymodel backends` shows."""


def load() -> Backend:
    """Import PyTorch and make the backend: the entry point `polymodel.backends`.

    Raises:
        BackendUnavailable: PyTorch is not installed or does not load.
    """
    try:
        from polymodel_torch.backend import TorchBackend
    except ModuleNotFoundError as error:
        if error.name != FRAMEWORK:
            raise BackendUnavailable(f"PyTorch is installed but does not load: {error}") from error
        raise BackendUnavailable(
            f'PyTorch is not installed: pip install -e ".[{EXTRA}]" in a checkout of polymodel installs it'
        ) from error
    except (ImportError, OSError) as error:
        raise BackendUnavailable(f"PyTorch is installed but does not load: {error}") from error
    return TorchBackend()
