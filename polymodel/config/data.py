"""The data of a configuration."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, final

from pydantic import AfterValidator, Field, ValidationError, model_validator

from polymodel.config.section import Section
from polymodel.data import transforms
from polymodel.errors import ConfigError
from polymodel.optim.named import unknown

Kind: TypeAlias = Literal["npz", "csv", "sklearn", "record", "folder", "mnist", "fashion_mnist"]
NAMED: tuple[Literal["sklearn", "mnist", "fashion_mnist"], ...] = ("sklearn", "mnist", "fashion_mnist")
"""Kinds whose source is a name, "kind:name", and no path."""


def _transforms(value: Any) -> Any:
    if value is not None:
        transforms.get_all(value)
    return value


class _Source(Section, ABC):
    """Where samples come from; see docs/data.md.

    Attributes:
        source: "sklearn:NAME", "fashion_mnist:train", "mnist:test", or a path (relative to the configuration).
        kind: what it is; seen by its name when None.
        path: a file, a folder, record files with wildcards or several; of mnist and fashion_mnist the folder of the files.
        index: index files of records.
        num_parts: parts that records are cut into.
        part_index: which of them, from 0.
        channels: of images: 1, 3 or 4; those of the model's input when None.
        target: name of the target's array or column.
        scale: what the features of a table are multiplied with.
        transforms: of images; see polymodel.data.transforms.
        on_error: whether the first sample that cannot be read ends the run ("raise"), or such are left out and counted ("skip").
    """

    _prefix: ClassVar[str] = ""

    source: str | None = None
    kind: Kind | None = None
    path: str | list[str] | None = None
    index: str | list[str] | None = None
    num_parts: int = Field(default=1, ge=1)
    part_index: int = Field(default=0, ge=0)
    channels: Literal[1, 3, 4] | None = None
    target: str = "target"
    scale: float = 1.0
    transforms: Annotated[Any, AfterValidator(_transforms)] = None
    on_error: Literal["raise", "skip"] = "raise"

    @model_validator(mode="after")
    def _one(self) -> _Source:
        named = self.source is not None and self.source.partition(":")[0] in NAMED
        if self.source is None and self.path is None:
            raise ConfigError(f"{self._prefix}source: missing; name a source, or a path with its kind")
        if self.source is not None and self.path is not None and not named:
            raise ConfigError(f"{self._prefix}path: source {self.source!r} is a path already: give one of the two")
        if self.part_index >= self.num_parts:
            raise ConfigError(f"{self._prefix}part_index: there are parts 0 to {self.num_parts - 1}, received {self.part_index}")
        return self

    @property
    def place(self) -> str | list[str]:
        """The source, or the path where there is none."""
        found = self.source if self.source is not None else self.path
        assert found is not None
        return found


@final
class SourceSection(_Source):
    """Samples of their own for validation or test; without `transforms` they get those of the training that are not random."""


def _share_or_source(value: Any) -> Any:
    if isinstance(value, Mapping):
        try:
            return SourceSection.model_validate(dict(value))
        except ValidationError as error:
            raise ConfigError("; ".join(_problem(e) for e in error.errors(include_url=False))) from None
    if value is None or isinstance(value, str | SourceSection):
        return value
    if isinstance(value, float) and 0 < value < 1:
        return value
    raise ConfigError(f"expected a share in (0, 1) to set aside, or a data source, received {value!r}")


def _problem(error: Any) -> str:
    path = ".".join(str(p) for p in error["loc"])
    if error["type"] == "extra_forbidden":
        return unknown(path, path, SourceSection.model_fields)
    reason = error.get("ctx", {}).get("error")
    message = reason if isinstance(reason, ConfigError) else f"{error['msg']}, received {error['input']!r}"
    return f"{path}: {message}" if path else str(message)


@final
class DataSection(_Source):
    """Samples to train on, and what to hold out.

    Attributes:
        validation: share of the samples to set aside, another source, or a mapping as this one; None for no validation.
        test: likewise, for `polymodel evaluate`.
        workers: threads that prepare batches ahead, where samples are read or transformed one by one; None as for a Loader.
        processes: processes instead of threads.
        prefetch: batches that are prepared ahead.
    """

    _prefix: ClassVar[str] = "data."

    validation: Annotated[Any, AfterValidator(_share_or_source)] = None
    test: Annotated[Any, AfterValidator(_share_or_source)] = None
    workers: int | None = Field(default=None, ge=0)
    processes: bool = False
    prefetch: int = Field(default=4, ge=1)
