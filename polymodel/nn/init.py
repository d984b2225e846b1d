"""How parameters start: a function from a random generator and a shape to an array.

Every parameter draws from a stream of its own, named by the seed and the parameter's path, so its initial value does
not depend on which other parameters exist or on the backend. Values are drawn in float64 and rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np

from polymodel.errors import ConfigError, ShapeError

T = TypeVar("T")

Initializer: TypeAlias = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
"""``init(generator, shape)`` returns a float64 array of that shape."""


def constant(value: float) -> Initializer:
    """Every element is `value`.

    Example:
        >>> constant(2.0)(np.random.default_rng(0), (2,))
        array([2., 2.])
    """
    return lambda _, shape: np.full(shape, value, np.float64)


zeros: Initializer = constant(0.0)
ones: Initializer = constant(1.0)


def uniform(low: float, high: float) -> Initializer:
    """Uniform in [low, high)."""
    return lambda generator, shape: generator.uniform(low, high, shape)


def normal(std: float = 1.0, mean: float = 0.0) -> Initializer:
    """Normal with the given standard deviation and mean."""
    return lambda generator, shape: generator.normal(mean, std, shape)


def fan_in_uniform(fan_in: int | None = None) -> Initializer:
    """Uniform in +-1/sqrt(fan_in): PyTorch's default for weights and biases of Linear and Conv.

    PyTorch writes the weight's as kaiming_uniform(a=sqrt(5)), whose bound gain*sqrt(3/fan_in), with
    gain = sqrt(2/(1+a^2)), is the same number (torch.nn.init.kaiming_uniform_, torch.nn.Linear).

    Args:
        fan_in: number of inputs of an output; computed from the shape (out, in, *kernel) when None.
    """

    def init(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        bound = 1 / math.sqrt(fan_in or fans(shape)[0])
        return generator.uniform(-bound, bound, shape)

    return init


def kaiming_normal(fan_mode: str = "fan_in", gain: float = math.sqrt(2)) -> Initializer:
    """Normal with standard deviation gain/sqrt(fan) (He et al., "Delving deep into rectifiers", 2015, eq. 10).

    Args:
        fan_mode: "fan_in" or "fan_out".
        gain: sqrt(2) for ReLU.
    """

    def init(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return generator.normal(0.0, gain / math.sqrt(_fan(shape, fan_mode)), shape)

    return init


def xavier_uniform(gain: float = 1.0) -> Initializer:
    """Uniform in +-gain*sqrt(6/(fan_in+fan_out)) (Glorot and Bengio, AISTATS 2010, eq. 16)."""

    def init(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        bound = gain * math.sqrt(6 / sum(fans(shape)))
        return generator.uniform(-bound, bound, shape)

    return init


def kaiming_uniform(fan_mode: str = "fan_in", gain: float = math.sqrt(2)) -> Initializer:
    """Uniform in +-gain*sqrt(3/fan): He et al., 2015, eq. 10, as a uniform distribution (torch.nn.init.kaiming_uniform_).

    Args:
        fan_mode: "fan_in" or "fan_out".
        gain: sqrt(2) for ReLU.
    """

    def init(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        bound = gain * math.sqrt(3 / _fan(shape, fan_mode))
        return generator.uniform(-bound, bound, shape)

    return init


def msra_prelu(factor_type: str = "avg", slope: float = 0.25) -> Initializer:
    """Normal with variance 2 / ((1 + slope^2) * factor) (He et al., 2015, eq. 15): mx.initializer.MSRAPrelu.

    Args:
        factor_type: what the factor is: "in" (fan_in), "out" (fan_out) or "avg", the mean of both, MXNet's default.
        slope: of the PReLU's negative half; 0 is ReLU.
    """

    def init(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        factors = dict(zip(("in", "out"), fans(shape), strict=True))
        factors["avg"] = (factors["in"] + factors["out"]) / 2  # type: ignore[assignment]
        return generator.normal(0.0, math.sqrt(2 / ((1 + slope**2) * _one_of("factor_type", factor_type, factors))), shape)

    return init


def xavier_normal(gain: float = 1.0) -> Initializer:
    """Normal with standard deviation gain*sqrt(2/(fan_in+fan_out)) (Glorot and Bengio, AISTATS 2010, eq. 12)."""
    return lambda generator, shape: generator.normal(0.0, gain * math.sqrt(2 / sum(fans(shape))), shape)


def lecun_normal() -> Initializer:
    """Normal with standard deviation 1/sqrt(fan_in) (LeCun et al., "Efficient BackProp", 1998, eq. 16).

    keras.initializers.LecunNormal truncates at two deviations: that is variance_scaling(1.0, "fan_in").
    """
    return lambda generator, shape: generator.normal(0.0, 1 / math.sqrt(fans(shape)[0]), shape)


def lecun_uniform() -> Initializer:
    """Uniform in +-sqrt(3/fan_in): the same deviation as lecun_normal (keras.initializers.LecunUniform)."""

    def init(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        bound = math.sqrt(3 / fans(shape)[0])
        return generator.uniform(-bound, bound, shape)

    return init


def truncated_normal(std: float = 1.0, mean: float = 0.0, low: float = -2.0, high: float = 2.0) -> Initializer:
    """Normal, drawn again outside of [mean + low*std, mean + high*std]: keras.initializers.TruncatedNormal.

    Its own standard deviation is smaller than `std` (0.8796 of it for +-2); torch.nn.init.trunc_normal_ has the limits in
    absolute numbers instead.

    Args:
        std: of the normal distribution that is cut.
        mean: of the normal distribution that is cut.
        low, high: limits in standard deviations.
    """
    if not low < high:
        raise ConfigError(f"truncated_normal: low is less than high, received {low} and {high}")

    def init(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return mean + std * _truncated(generator, shape, low, high)

    return init


def variance_scaling(
    scale: float = 1.0, mode: str = "fan_in", distribution: str = "truncated_normal"
) -> Initializer:
    """Variance scale/n for n = fan_in, fan_out or their mean: keras.initializers.VarianceScaling.

    "truncated_normal" is cut at two deviations and has the variance all the same.

    Args:
        scale: 2 for He, 1 for LeCun and Glorot.
        mode: "fan_in" (He, LeCun), "fan_out" or "fan_avg" (Glorot).
        distribution: "truncated_normal", "untruncated_normal" or "uniform".
    """

    def init(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        found = fans(shape)
        sizes = {"fan_in": float(found[0]), "fan_out": float(found[1]), "fan_avg": sum(found) / 2}
        std = math.sqrt(scale / _one_of("mode", mode, sizes))
        draws: dict[str, Callable[[], np.ndarray]] = {
            "truncated_normal": lambda: std / _CUT * _truncated(generator, shape, -2.0, 2.0),
            "untruncated_normal": lambda: generator.normal(0.0, std, shape),
            "uniform": lambda: generator.uniform(-std * math.sqrt(3), std * math.sqrt(3), shape),
        }
        return _one_of("distribution", distribution, draws)()

    return init


_CUT = 0.87962566103423978
"""Standard deviation of a standard normal variable that is cut at -2 and 2."""


def orthogonal(gain: float = 1.0) -> Initializer:
    """Rows or columns orthonormal, times gain, for a weight (out, in*kernel) (Saxe et al., ICLR 2014): Q of a QR decomposition
    of normal numbers, columns signed so that R has a positive diagonal (torch.nn.init.orthogonal_)."""

    def init(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        fans(shape)
        rows, columns = shape[0], math.prod(shape[1:])
        q, r = np.linalg.qr(generator.normal(0.0, 1.0, (max(rows, columns), min(rows, columns))))
        q = q * np.where(np.diag(r) < 0, -1.0, 1.0)
        values: np.ndarray = gain * (q if rows >= columns else q.T).reshape(shape)
        return values

    return init


def identity(gain: float = 1.0) -> Initializer:
    """The identity matrix times gain, for a weight (out, in); a convolution passes its input on (torch.nn.init.dirac_)."""

    def init(_: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        fans(shape)
        values = np.zeros(shape, np.float64)
        for i in range(min(shape[:2])):
            values[(i, i, *(size // 2 for size in shape[2:]))] = gain
        return values

    return init


INITIALIZERS: dict[str, Callable[..., Initializer]] = {
    f.__name__: f
    for f in (
        constant, uniform, normal, truncated_normal, fan_in_uniform, kaiming_normal, kaiming_uniform, msra_prelu,
        xavier_normal, xavier_uniform, lecun_normal, lecun_uniform, variance_scaling, orthogonal, identity,
    )
} | {"zeros": lambda: zeros, "ones": lambda: ones}
"""By the word in configurations."""


def get(spec: str | Mapping[str, Any] | Initializer) -> Initializer:
    """The initializer of a name, of a mapping with "name" and arguments, or the initializer itself.

    Raises:
        ConfigError: the name or an argument is unknown.

    Example:
        >>> get({"name": "constant", "value": 0.5})(np.random.default_rng(0), (2,))
        array([0.5, 0.5])
    """
    if callable(spec):
        return spec
    options = {"name": spec} if isinstance(spec, str) else dict(spec)
    make = _one_of("initializer", str(options.pop("name", None)), INITIALIZERS)
    try:
        return make(**options)
    except TypeError as error:
        raise ConfigError(f"initializer {spec!r}: {error}") from None


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight of shape (out, in, *kernel).

    Example:
        >>> fans((16, 3, 5, 5))
        (75, 400)
    """
    if len(shape) < 2:
        raise ShapeError(f"fan_in needs a weight of two axes or more (out, in, *kernel), received shape {tuple(shape)}")
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


def _fan(shape: tuple[int, ...], mode: str) -> int:
    return _one_of("fan_mode", mode, dict(zip(("fan_in", "fan_out"), fans(shape), strict=True)))


def _one_of(what: str, word: str, table: Mapping[str, T]) -> T:
    if word not in table:
        raise ConfigError(f"{what} is one of {', '.join(table)}, received {word!r}")
    return table[word]


def _truncated(generator: np.random.Generator, shape: tuple[int, ...], low: float, high: float) -> np.ndarray:
    """Standard normal numbers in [low, high]: what lies outside is drawn again."""
    values = generator.standard_normal(shape)
    outside = (values < low) | (values > high)
    while count := int(outside.sum()):
        values[outside] = generator.standard_normal(count)
        outside = (values < low) | (values > high)
    return values
