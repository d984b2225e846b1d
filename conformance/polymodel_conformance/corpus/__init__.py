"""Where cases come from: the standard's own node tests, generated operator calls, layers, losses, reference models."""
