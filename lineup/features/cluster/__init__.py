"""Commands that start a Ray cluster, deploy to one, and show what it does."""
