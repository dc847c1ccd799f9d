"""Data sets of the user's own, in every format: the trainer's, and those that need a library it lacks."""
