"""Trains one network: regimes, strategies, steps, evaluation and checkpoints."""
