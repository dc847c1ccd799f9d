"""Drives a sweep on Ray: rounds of trials, the workers that train them, heartbeats, progress."""
