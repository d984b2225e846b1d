"""random.py: streams are independent of everything but their names."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from polymodel import random


def test_a_stream_is_named_by_all_four() -> None:
    names = [(0, "init", "w", 0), (1, "init", "w", 0), (0, "dropout", "w", 0), (0, "init", "v", 0), (0, "init", "w", 1)]
    draws = [random.generator(*n).integers(0, 2**63, 4).tolist() for n in names]
    assert len({tuple(d) for d in draws}) == len(names)
    assert draws == [random.generator(*n).integers(0, 2**63, 4).tolist() for n in names]


PINNED = [318, 848, 457, 252, 67]
PINNED_MASK = [0, 0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1]
PINNED_ORDER = [1, 5, 0, 2, 4, 3, 6, 7]


def test_bits_are_pinned() -> None:
    """A change of these bits breaks resumed runs and every recorded comparison."""
    assert random.generator(0, "init", "conv.weight").integers(0, 1000, 5).tolist() == PINNED
    assert random.mask(0, "drop.mask", 3, (12,), 0.5).astype(int).tolist() == PINNED_MASK
    assert random.permutation(0, 1, 8).tolist() == PINNED_ORDER


def test_a_permutation_has_every_sample_once() -> None:
    order = random.permutation(3, 0, 1000)
    assert sorted(order.tolist()) == list(range(1000))
    assert order.tolist() != random.permutation(3, 1, 1000).tolist()


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_a_mask_keeps_its_share(rate: float) -> None:
    mask = random.mask(0, "m", 1, (400, 500), rate)
    assert mask.dtype == np.bool_
    assert mask.shape == (400, 500)
    assert abs(mask.mean() - (1 - rate)) < 5 * np.sqrt(rate * (1 - rate) / mask.size)


def test_a_mask_of_rate_zero_keeps_all() -> None:
    assert random.mask(0, "m", 1, (1000,), 0.0).all()


def test_masks_of_neighbouring_steps_are_unrelated() -> None:
    a, b = (random.mask(0, "m", step, (100000,), 0.5) for step in (1, 2))
    assert abs((a == b).mean() - 0.5) < 0.01


@pytest.mark.parametrize("width", [1, 4, 11])
def test_rows_are_philox_at_each_samples_counter(width: int) -> None:
    numbers = np.array([3, 0, 2**40, 3])
    found = random.rows(5, "augment", "crop", 2, numbers, width)
    key = int.from_bytes(hashlib.sha256(b"5\0augment\0crop\x002").digest()[:16], "little")
    for row, number in zip(found, numbers.tolist(), strict=True):
        want = np.random.Generator(np.random.Philox(key=key, counter=[0, number, 0, 0])).random(width)
        assert row.tobytes() == want.tobytes()
    assert random.rows(5, "augment", "crop", 3, numbers, width).tobytes() != found.tobytes()
    assert random.rows(5, "augment", "crop", 2, numbers, 0).shape == (4, 0)
