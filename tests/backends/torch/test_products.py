"""products.py: the dense product on oneDNN and the choice of the kernel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from polymodel_torch import products

SHAPES = [(64, 300, 200), (64, 200, 300), (1, 2048, 512), (2000, 16, 64)]
needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this PyTorch has no oneDNN")


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_value_and_derivatives(shape: tuple[int, int, int], bias: bool) -> None:
    rows, inner, outer = shape
    assert rows * inner * outer >= products._SMALL
    generator = torch.Generator().manual_seed(0)
    sizes = [(2, rows // 2, inner) if rows > 1 else (rows, inner), (outer, inner), (outer,)]
    tensors = [torch.randn(s, generator=generator, requires_grad=True) for s in sizes[: 2 + bias]]
    exact = [t.detach().double().requires_grad_() for t in tensors]
    y, z = products.linear(*tensors), torch.nn.functional.linear(*exact)
    assert "_Linear" in str(y.grad_fn) or "_Linear" in str(y.grad_fn.next_functions)
    seed = torch.randn(y.shape, generator=generator)
    found, expected = torch.autograd.grad(y, tensors, seed), torch.autograd.grad(z, exact, seed.double())
    for a, b in zip((y, *found), (z, *expected), strict=True):
        error = (a.double() - b).abs().max() / b.abs().max()
        assert a.shape == b.shape
        assert error < 1e-5


@needs_onednn
def test_operands_in_any_memory_order() -> None:
    x, w = torch.randn(512, 300).t()[::2], torch.randn(64, 512, 2)[..., 0]
    assert x.numel() * 64 >= products._SMALL
    torch.testing.assert_close(products.linear(x, w), x @ w.t(), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("asked", ["onednn", "native"])
def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    monkeypatch.setenv("POLYMODEL_TORCH_LINEAR", asked)
    expected = asked == "onednn" and torch.backends.mkldnn.is_available()
    assert products.prefers_onednn.__wrapped__() is expected


@needs_onednn
def test_a_measurement_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("POLYMODEL_TORCH_LINEAR", raising=False)
    choose = products.prefers_onednn.__wrapped__
    monkeypatch.setattr(products, "measure", lambda: {"onednn": 1.0, "native": 2.0})
    assert choose() is True
    (file,) = tmp_path.rglob("*.json")
    assert json.loads(file.read_text())["onednn"] is True
    monkeypatch.setattr(products, "measure", lambda: {"onednn": 2.0, "native": 1.0})
    assert choose() is True
    file.write_text("not json")
    assert choose() is False
    assert json.loads(file.read_text())["onednn"] is False


@needs_onednn
def test_a_small_gain_is_no_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (tmp_path / "file").touch()  # a cache folder that cannot be made
    monkeypatch.delenv("POLYMODEL_TORCH_LINEAR", raising=False)
    monkeypatch.setattr(products, "measure", lambda: {"onednn": 1.0, "native": 1.1})
    assert products.prefers_onednn.__wrapped__() is False


@needs_onednn
def test_measuring_times_both() -> None:
    assert all(0 < seconds < 5 for seconds in products.measure().values())
