"""Anytime networks: layers, units, stages, and how they run on a device."""
