"""This machine: its hardware, its processes, and the code that runs on it."""
