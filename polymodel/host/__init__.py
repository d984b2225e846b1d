"""What only the host can do: rules in NumPy and Python for operators that no framework compiles."""

from polymodel.host import rules, selection
from polymodel.host.table import HOST, run_on_host, runs_on_host

__all__ = ["HOST", "rules", "run_on_host", "runs_on_host", "selection"]
