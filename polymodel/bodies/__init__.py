"""Bodies of operators that the standard leaves primitive; importing this package fills the table: every file of it."""

from importlib import import_module
from pkgutil import iter_modules

from polymodel.bodies.table import BODIES, Body, write_body

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["BODIES", "Body", "write_body"]
