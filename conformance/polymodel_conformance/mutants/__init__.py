"""Known faults, planted on purpose, and the hunt for them. A worker imports `rules` of here, so this file imports nothing."""
