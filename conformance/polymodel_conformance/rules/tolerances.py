"""The rules that other projects compare numbers by, with their published defaults and where these stand.

All compare |got - want| with a fixed absolute and a relative tolerance by element type; they differ in the numbers, and in whether
the two are added or one of them is enough. `want` is the float64 value rounded to the element type, the best reference that there
is. Shapes, element types and what is no floating-point number must be equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

from polymodel.spec import numpy_dtype
from polymodel_conformance.tolerance.compare import Expected


@final
@dataclass(frozen=True)
class Rule:
    """A pair of tolerances for each element type.

    Attributes:
        name: of the project.
        tolerances: relative and absolute, by element type.
        source: where they are written.
        either: one of the two tolerances is enough; else |got - want| <= absolute + relative * |want|.
        nan_is_error: a NaN is wrong wherever it is.
        infinity_differs: an infinity does not agree with itself.
    """

    name: str
    tolerances: Mapping[str, tuple[float, float]]
    source: str
    either: bool = False
    nan_is_error: bool = False
    infinity_differs: bool = False

    def agrees(self, got: object, expected: Expected) -> bool:
        """Whether the rule calls a tensor right."""
        dtype = numpy_dtype(expected.dtype)
        if not isinstance(got, np.ndarray) or got.dtype != dtype or got.shape != expected.value.shape:
            return False
        if got.size == 0:
            return True
        with np.errstate(over="ignore", invalid="ignore"):
            want = expected.value.astype(dtype)
            if dtype.kind != "f":
                return bool(np.array_equal(got, want))
            relative, absolute = self.tolerances[expected.dtype]
            gap = np.abs(got.astype(np.float64) - want.astype(np.float64))
            size = np.abs(want.astype(np.float64))
            close = (gap <= absolute) | (gap <= relative * size) if self.either else gap <= absolute + relative * size
        same = (got == want) if not self.infinity_differs else np.zeros(got.shape, bool)
        nan = np.zeros(got.shape, bool) if self.nan_is_error else np.isnan(got) & np.isnan(want)
        finite = np.isfinite(got) & np.isfinite(want)
        return bool(np.all((close & finite) | (same & ~finite) | nan))


RULES: tuple[Rule, ...] = (
    Rule(
        "Keras", {"float32": (1e-6, 1e-6), "float64": (1e-6, 1e-6)},
        "keras 3, keras/src/testing/test_case.py, TestCase.assertAllClose: atol=1e-6, rtol=1e-6",
    ),
    Rule(
        "torch.testing", {"float32": (1.3e-6, 1e-5), "float64": (1e-7, 1e-7)},
        "torch 2, torch/testing/_comparison.py, _DTYPE_PRECISIONS; docs of torch.testing.assert_close",
    ),
    Rule(
        "Polygraphy", {"float32": (1e-5, 1e-5), "float64": (1e-5, 1e-5)},
        "NVIDIA/TensorRT, tools/Polygraphy/polygraphy/comparator/compare.py, CompareFunc.simple: elemwise, rtol=1e-5, atol=1e-5, one is "
        "enough; infinities do not compare equal",
        either=True, infinity_differs=True,
    ),
    Rule(
        "ONNX Runtime", {"float32": (1e-4, 1e-5), "float64": (1e-5, 1e-5)},
        "microsoft/onnxruntime, onnxruntime/test/providers/checkers.cc, DefaultTolerance of OpTester",
    ),
    Rule(
        "MXNet test_utils", {"float32": (1e-4, 1e-3), "float64": (1e-5, 1e-20)},
        "mxnet 1.9.1, mxnet/test_utils.py, default_rtols and default_atols of assert_almost_equal",
    ),
    Rule(
        "NNSmith", {"float32": (1e-2, 1e-3), "float64": (1e-2, 1e-3)},
        "ise-uiuc/nnsmith, nnsmith/difftest.py, assert_allclose: rtol=1e-02, atol=1e-03; NaN is an error",
        nan_is_error=True,
    ),
)
"""From the strictest to the widest."""
