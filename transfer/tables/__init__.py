"""Verdicts on tables of runs that somebody made."""
