"""The commands of ``orchestrate``: each parses, calls and prints."""

# Whatever is slow to import is imported inside the commands: ``orchestrate --help`` answers at once.
from orchestrator.cli import (
    data,
    difference,
    exchange,
    extensions,
    networks,
    report,
    services,
    shipped,
    sweep,
    trials,
    upkeep,
)
from orchestrator.cli.main import cli, main

__all__ = ["cli", "main"]

COMMANDS = (
    sweep.sweep,
    sweep.plan,
    sweep.status,
    shipped.sweeps,
    report.report,
    report.paper,
    trials.show,
    trials.logs,
    trials.reproduce,
    difference.diff,
    trials.outcomes,
    upkeep.note,
    upkeep.gc,
    networks.predict,
    networks.calibrate,
    networks.profile,
    networks.export,
    exchange.bundle,
    exchange.import_,
    data.data,
    extensions.extension,
    services.ui,
    services.doctor,
)
for command in COMMANDS:
    cli.add_command(command)
