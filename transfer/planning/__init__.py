"""Which rungs, pairs and horizons to choose for a budget."""
