"""Arms and pairs up the ladder: savings, verdicts, forecasts."""
