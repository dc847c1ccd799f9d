"""Faults a user can mend, as opposed to bugs. Imports nothing.

TrainerError
├── DataError          a data set is missing, damaged or of the wrong shape
├── CheckpointError    no checkpoint, or one of another trial
├── ConfigError        a config that the trainer at hand cannot run
└── TooEarlyError      a network was interrupted before its first prediction
"""

from __future__ import annotations


class TrainerError(Exception):
    """Base of all; its text is fit to be shown to the user as it is."""


class DataError(TrainerError):
    pass


class CheckpointError(TrainerError):
    pass


class ConfigError(TrainerError):
    pass


class TooEarlyError(TrainerError):
    pass
