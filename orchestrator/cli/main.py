"""The group of all commands, and the end of each: exit codes, messages, ``--debug``."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TextIO

import click

from anytime_core.errors import TrainerError
from orchestrator.errors import OrchestratorError
from orchestrator.system.environment import prepare_torch

_debugging = False


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="anytime-orchestrator", prog_name="orchestrate")
def cli() -> None:
    """Runs sweeps of anytime neural networks: every trial once, whatever happens."""


def main() -> NoReturn:
    """Runs the command line. A user error is one message. Exits with 2 for bad usage or input, 1 for a failed run."""
    _show_warnings()
    prepare_torch()
    try:
        sys.exit(cli.main(standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
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

        traceback.print_exc()
    click.echo(f"error: {message}", err=True)
    sys.exit(exit_code)


def _leave(message: str, exit_code: int) -> NoReturn:
    """Exits at once: libraries can hang at an exit if the interrupt came in the middle of their import or start."""
    from contextlib import suppress

    click.echo(f"error: {message}", err=True)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(exit_code)


def set_debug(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    """Remembers ``--debug`` until the process ends: errors arrive where click's context is gone."""
    global _debugging
    _debugging |= value


class LastingStream:
    """A stream that outlives its reader: ``tee`` may go at ctrl-C, or the disk behind it fill up."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
        except BrokenPipeError:  # for whoever else writes there, too
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
        except OSError:
            pass


class _Warnings(logging.Handler):
    """Prints each warning once: the same file is read many times."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._printed: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if (message := record.getMessage()) not in self._printed:
            self._printed.add(message)
            click.echo(f"warning: {message}", err=True)


def _show_warnings() -> None:
    """Shows the user the warnings of our own code, such as a damaged file, whatever Ray and MLflow do with theirs."""
    handler = _Warnings()
    for package in ("anytime_core", "orchestrator"):
        logger = logging.getLogger(package)
        logger.addHandler(handler)
        logger.propagate = False
