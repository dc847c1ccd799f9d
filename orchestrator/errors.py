"""What can go wrong that a user can mend. Imports nothing.

OrchestratorError              exit code 1
├── UsageError                 exit code 2: the command or its input is wrong
│   └── SweepError             a sweep file, with every fault in it
│       └── GoneError          it is sound, but extensions or data that it names are not here
├── StorageError               the storage folder cannot be read or written
│   └── HeldError              another process runs this sweep
├── RunError                   some trials of a sweep have not ended
├── RiskError                  no threshold keeps a risk
├── ClusterError               no such Ray cluster, or not one that can hold a trial
└── TrackingError              no such MLflow server
"""

from __future__ import annotations


class OrchestratorError(Exception):
    """Base of all; its text is fit to be shown to the user as it is."""

    exit_code = 1


class UsageError(OrchestratorError):
    exit_code = 2


class SweepError(UsageError):
    pass


class GoneError(SweepError):
    pass


class StorageError(OrchestratorError):
    pass


class HeldError(StorageError):
    pass


class RunError(OrchestratorError):
    pass


class RiskError(OrchestratorError):
    pass


class ClusterError(OrchestratorError):
    pass


class TrackingError(OrchestratorError):
    pass
