"""Tolerance rules of other projects beside rho, on the same right answers and the same planted faults."""
