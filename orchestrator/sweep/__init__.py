"""The vocabulary of a sweep: its grid, cells and trials, and how they are retried, reported and announced."""
