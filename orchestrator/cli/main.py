"""The group of all commands, and the end of each: exit codes, messages, ``--debug``."""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
from typing import Any, NoReturn

import click

from anytime_core.errors import TrainerError
from orchestrator.cli import streams
from orchestrator.cli.output import say
from orchestrator.errors import OrchestratorError
from orchestrator.system.environment import prepare_torch

_debugging = False


class _Group(click.Group):
    """Says of a connection that broke what it says of other errors: click ends at once there, without a word."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise OrchestratorError(_unexpected(error)) from error


def _print_version(context: click.Context, parameter: click.Parameter, asked: bool) -> None:
    """With the commit where the code lies in git, or the hash of its sources."""
    if not asked or context.resilient_parsing:
        return
    from importlib.metadata import version

    from orchestrator.system.sources import code_version

    say(f"orchestrate, version {version('anytime-orchestrator')} ({code_version()})")
    context.exit()


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
def cli() -> None:
    """Runs sweeps of anytime neural networks: every trial once, whatever happens."""


def main() -> NoReturn:
    """Runs the command line. A user error is one message. Exits with 2 for bad usage or input, 1 for a failed run
    and for one that could not show all."""
    streams.prepare()
    _show_warnings()
    prepare_torch()
    code = _exit_code()
    if fault := streams.lost():
        code = code or 1
        if fault.errno != errno.EPIPE:  # whose reader has seen what it wanted, as ``head`` has
            say(f"error: standard output: {fault.strerror}; not all that there is was printed", err=True)
    sys.exit(code)


def _exit_code() -> int:
    """Calls the command. Commands that fail in words of their own end by ``sys.exit``."""
    try:
        _call()
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 0
    return 0


def _call() -> None:
    try:
        sys.exit(cli.main(standalone_mode=False) or 0)
    except click.ClickException as error:
        said = io.StringIO()
        error.show(said)
        say(said.getvalue().rstrip("\n"), err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _leave("interrupted; the same command goes on from here", 130)
    except OrchestratorError as error:
        end(str(error), error.exit_code)
    except TrainerError as error:  # a data set that is not as it should be
        end(str(error), 2)
    except Exception as error:
        end(_unexpected(error), 1)


def _unexpected(error: Exception) -> str:
    """Tells a full disk and a file that cannot be used from a bug."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{error.filename or 'storage'}: {error.strerror}; with more space the same command goes on"
    hint = "" if _debugging else "\n(give --debug to see where)"
    if isinstance(error, OSError) and error.filename and error.strerror:  # such as an --output that is read-only
        return f"{error.filename}: {error.strerror}{hint}"
    return f"unexpected {type(error).__name__}: {error}{hint}"


def end(message: str, exit_code: int) -> NoReturn:
    """Prints the message, below the traceback if the user asked for it, and exits."""
    if _debugging and sys.exc_info()[0]:
        import traceback

        say(traceback.format_exc().rstrip("\n"), err=True)
    say(f"error: {message}", err=True)
    sys.exit(exit_code)


def _leave(message: str, exit_code: int) -> NoReturn:
    """Exits at once: libraries can hang at an exit if the interrupt came in the middle of their import or start."""
    say(f"error: {message}", err=True)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(exit_code)


def set_debug(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    """Remembers ``--debug`` until the process ends: errors arrive where click's context is gone."""
    global _debugging
    _debugging |= value
    if value:
        logging.getLogger("orchestrator").setLevel(logging.DEBUG)


class _Warnings(logging.Handler):
    """Prints each warning once: the same file is read many times. For ``--debug``, prints the traceback of every error
    that the command survives."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._printed: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if _debugging and record.exc_info:
            import traceback

            say("".join(traceback.format_exception(record.exc_info[1])).rstrip("\n"), err=True)
        if record.levelno >= logging.WARNING:
            self._print(record)

    def _print(self, record: logging.LogRecord) -> None:
        if (message := record.getMessage()) not in self._printed:
            self._printed.add(message)
            say(f"warning: {message}", err=True)


def _show_warnings() -> None:
    """Shows the user the warnings of our own code, such as a damaged file, whatever Ray and MLflow do with theirs."""
    handler = _Warnings()
    for package in ("anytime_core", "orchestrator"):
        logger = logging.getLogger(package)
        logger.addHandler(handler)
        logger.propagate = False
