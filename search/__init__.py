"""Proposers and the keep-or-drop statistics on rung 0."""
