"""A process for each backend: the runner's side and the worker's, and what passes between them."""
