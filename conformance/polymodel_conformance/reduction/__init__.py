"""Making a failing case small: `polymodel reduce`."""
