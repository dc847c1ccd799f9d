"""Runs many trials of ``anytime_core`` as one sweep: Ray Tune schedules, a ledger remembers, MLflow shows."""
