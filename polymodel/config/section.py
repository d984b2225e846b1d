"""What every section of a configuration is."""

from __future__ import annotations

from abc import ABC

from pydantic import BaseModel, ConfigDict


class Section(BaseModel, ABC):
    """Keys with types; others are refused, and nothing is converted silently."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())
