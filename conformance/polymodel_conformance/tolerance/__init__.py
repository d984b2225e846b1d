"""When a difference is acceptable: rounding floors, families with their calibrated limits, and the comparison itself."""
