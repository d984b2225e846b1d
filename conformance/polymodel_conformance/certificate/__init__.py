"""A report that says for one very file: the artifact, the native model and the backends agree."""
