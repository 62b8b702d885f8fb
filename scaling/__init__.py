"""Recipe, ladder, one training run, and how runs are launched."""
