"""Ending a fit when its loss is not finite."""

from __future__ import annotations

from typing import ClassVar, final

from polymodel.callbacks.base import Callback


@final
class TerminateOnNaN(Callback):
    """End the fit when a loss is NaN or infinite, with what was trained before; `fit.reason` says where it came from.

    Without it such a fit raises NonFiniteLoss. The failing step changed nothing, its epoch has no row in the history.

    Example:
        >>> TerminateOnNaN().ends_on_nan
        True
    """

    ends_on_nan: ClassVar[bool] = True
