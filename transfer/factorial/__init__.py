"""Many findings at once: plans of combinations, and what they say."""
