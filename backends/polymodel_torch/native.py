"""The program as a torch.nn.Module, and its state in PyTorch's own files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, final

from polymodel.errors import ArtifactError
from polymodel_torch.compat import torch


@final
class _Branch(torch.nn.Module):  # type: ignore[misc]
    """One part of the path of a parameter's name."""


@final
class NativeModule(torch.nn.Module):  # type: ignore[misc]
    """A module that computes a program's outputs and shares its parameters and buffers.

    Keys of `state_dict()` are the names of the program's parameters and buffers. Call it with the model's inputs, by
    position or by name; it returns a tensor, or a tuple of them where the model has several outputs.

    Args:
        parameters, buffers: the program's own tensors by name.
        inputs: names of the model's inputs.
        forward: from (state by name, inputs by name) to the outputs.
    """

    def __init__(
        self,
        parameters: Mapping[str, torch.Tensor],
        buffers: Mapping[str, torch.Tensor],
        inputs: tuple[str, ...],
        forward: Callable[[Mapping[str, torch.Tensor], Mapping[str, torch.Tensor]], tuple[torch.Tensor, ...]],
    ) -> None:
        super().__init__()
        self._input_names = inputs
        self._function = forward
        for name, tensor in parameters.items():
            branch, last = self._branch(name)
            branch._parameters[last] = torch.nn.Parameter(tensor.detach(), requires_grad=tensor.requires_grad)
        for name, tensor in buffers.items():
            branch, last = self._branch(name)
            branch._buffers[last] = tensor

    def _branch(self, name: str) -> tuple[torch.nn.Module, str]:
        *path, last = name.split(".")
        module: torch.nn.Module = self
        for part in path:
            module = module._modules.setdefault(part, _Branch())
        return module, last

    def forward(self, *args: torch.Tensor, **kwargs: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """The model's outputs in inference mode."""
        feeds = {**dict(zip(self._input_names, args, strict=False)), **kwargs}
        state = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        outputs = self._function(state, feeds)
        return outputs[0] if len(outputs) == 1 else outputs


def save(module: torch.nn.Module, path: str | Path) -> None:
    """Write the state_dict: as safetensors when the name ends so, else in PyTorch's own format."""
    state = {n: t.detach().cpu().contiguous() for n, t in module.state_dict().items()}
    if Path(path).suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(state, path)
    else:
        torch.save(state, path)


def load(module: torch.nn.Module, path: str | Path) -> None:
    """Read a file written by `save` into the module, and so into the program that shares its memory.

    Raises:
        ArtifactError: names or shapes are not those of the module, or the file holds something else than tensors.
    """
    try:
        if Path(path).suffix == ".safetensors":
            from safetensors.torch import load_file

            state: dict[str, Any] = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        module.load_state_dict(state)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ArtifactError(f"{path} does not fit this model: {error}") from error
