"""Ladders whose truth is known, and how often the rules err on them."""
