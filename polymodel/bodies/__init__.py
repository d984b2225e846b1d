"""Bodies of operators that the standard leaves primitive; importing this package fills the table."""

from polymodel.bodies import integers, movement, quantized, rounding
from polymodel.bodies.table import BODIES, Body, write_body

__all__ = ["BODIES", "Body", "integers", "movement", "quantized", "rounding", "write_body"]
