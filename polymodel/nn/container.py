"""Modules made of modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, final

from polymodel.nn.module import Module


@final
class Sequential(Module[Any]):
    """Modules called one after the other; they are named "0", "1", ...

    Example:
        >>> from polymodel import nn
        >>> [n for n, _ in nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)).named_parameters()]
        ['0.weight', '0.bias', '2.weight', '2.bias']
    """

    def __init__(self, *modules: Module[Any]) -> None:
        super().__init__()
        for i, module in enumerate(modules):
            setattr(self, str(i), module)

    def forward(self, x: Any) -> Any:
        """What the last module returns."""
        for module in self:
            x = module(x)
        return x

    def __iter__(self) -> Iterator[Module[Any]]:
        return (m for _, m in self.named_children())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, i: int) -> Module[Any]:
        return list(self)[i]


@final
class ModuleList(Module[Any]):
    """A list of modules that the model finds; called by its owner, not by itself. They are named "0", "1", ..."""

    def __init__(self, modules: Iterable[Module[Any]] = ()) -> None:
        super().__init__()
        for module in modules:
            self.append(module)

    def append(self, module: Module[Any]) -> None:
        """Add a module at the end."""
        setattr(self, str(len(self)), module)

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Not callable: its owner calls the modules in it."""
        raise TypeError("a ModuleList is not called: call the modules in it, or use nn.Sequential")

    def __iter__(self) -> Iterator[Module[Any]]:
        return (m for _, m in self.named_children())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, i: int) -> Module[Any]:
        return list(self)[i]
