"""One experiment is one value: its fields, how they are read, and what its optimiser is."""
