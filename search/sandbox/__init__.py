"""Cells in which code that a model wrote runs, and that it cannot leave; see docs/sandbox.md."""
