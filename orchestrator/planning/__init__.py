"""Plans what is left of a sweep: which trials, their time, disk and shares of GPUs."""
