"""The front door in Python: a sweep, loaded from a file or made without one, and all that can be asked of it."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from orchestrator.analysis import tidy, trace
from orchestrator.analysis.tables import Tables
from orchestrator.api import frames
from orchestrator.api.content import plain
from orchestrator.errors import GoneError, UsageError
from orchestrator.ledger.choices import chosen
from orchestrator.ledger.ledger import Ledger
from orchestrator.places import GRACE, NOTIFY, Places, expanded, from_environment, places_of, room_of
from orchestrator.report.status import read_tables, status
from orchestrator.report.views import render
from orchestrator.report.views.notebook import View
from orchestrator.sweep import grid, notify
from orchestrator.sweep.limits import span
from orchestrator.sweepfile import load as loading
from orchestrator.sweepfile import trust as trusting
from orchestrator.sweepfile.document import Document, suggestion
from orchestrator.sweepfile.shown import load_to_show
from orchestrator.system.shutdown import PATIENCE
from orchestrator.text import FromEnvironment, counted

if TYPE_CHECKING:
    from pandas import DataFrame

    from anytime_core.predictor import ExponentialSequence
    from anytime_core.trained import TrainedNetwork
    from orchestrator.inference.lookup import TrainedTrial

AnyPath = str | os.PathLike[str]
MADE_HERE = "api.Sweep"
"""Stands in messages for the file that there is none of."""


class Sweep:
    """A sweep and its storage. Made without a file it takes the keys of a sweep file as arguments, and refuses every
    fault in them at once, as for a file: ``load`` reads one.

    ``words`` of a method are those of cells, as ``orchestrate show`` takes them: ``"aann (2,8)"``, ``"aann", "digits"``
    or a trial's id; by none all cells are meant. Each call reads the storage anew, also while the sweep runs, here or
    elsewhere.

    >>> training = {"steps": 44, "batch_size": 64}
    >>> methods = {"ann": "ann", "aann": {"strategy": "aann", "gamma": 2}}
    >>> sweep = Sweep(networks=[{"n": 1, "c": 2}], datasets=["digits"], methods=methods, training=training)
    >>> list(sweep.errors().columns)[:5]  # a row for each prediction of each trial that has finished
    ['method', 'network', 'dataset', 'seed', 'prediction']
    """

    def __init__(
        self,
        *,
        networks: Iterable[Mapping[str, Any]],
        datasets: Iterable[str | Mapping[str, Any]],
        methods: Mapping[str, str | Mapping[str, Any]],
        seeds: Iterable[int] | None = None,
        training: Mapping[str, Any] | None = None,
        name: str = "sweep",
        storage: AnyPath | None = None,
        data_root: AnyPath | None = None,
        tracking_uri: str | None = None,
        trust: bool = False,
        **more: Any,
    ) -> None:
        """Without ``seeds`` there is one, 0, or with ``decide`` as many as it takes. ``more`` are the other keys of a
        sweep file, such as ``weights``, ``resources``, ``extensions``, ``report``.

        The four before it are as for ``load``; paths start in the working folder. Sweeps of one storage need names of
        their own. Raises SweepError, UsageError.
        """
        given = {"networks": networks, "datasets": datasets, "methods": methods, "seeds": seeds, "training": training}
        sections = {"name": name, **given, **more}
        self._content = plain({key: value for key, value in sections.items() if value is not None})
        self._places = places_of(storage, data_root, tracking_uri)
        self._trust, self._gone = trust, ""
        with trusting.taken(trust):
            self._grid = loading.sweep_of(Document.without_file(MADE_HERE, self._content))

    @classmethod
    def _of_file(cls, path: Path, places: Places, *, trust: bool) -> Self:
        """Without a call of ``__init__``, which makes a sweep without a file."""
        made, notes = cls.__new__(cls), list[str]()
        with trusting.taken(trust):
            made._grid = load_to_show(path, places.ledger, notes.append)
        made._content, made._places, made._trust = None, places, trust
        made._gone = notes[0] if notes else ""
        return made

    # What it is

    @property
    def name(self) -> str:
        return self._grid.name

    @property
    def storage(self) -> Path | str:
        return self._places.storage

    def __repr__(self) -> str:
        return f"Sweep {self.name}: {counted(len(self._grid.trials), 'trial')}; storage: {self._ledger.storage}"

    def save(self, path: AnyPath) -> None:
        """Writes a sweep that was made without a file as one, for ``orchestrate`` and ``load``. Paths in it stay as
        they are: they start in the folder of the file. Raises UsageError where there is something already."""
        import yaml

        if self._content is None:
            raise UsageError(f"{self._grid.path}: this sweep has a file already")
        try:
            with open(path, "x", encoding="utf-8") as file:
                yaml.safe_dump(self._content, file, sort_keys=False, allow_unicode=True)
        except OSError as error:
            raise UsageError(f"{os.fspath(path)}: cannot be written: {error.strerror}") from error

    # Running it

    def plan(
        self,
        *,
        address: str | None = None,
        cpus: int | None = None,
        gpus: float | str | None = None,
        slots: int | None = None,
        calibrate: float | None = None,
        devices: str | None = None,
        price: str | None = None,
    ) -> View:
        """What would run, why, and what it would take, as ``orchestrate plan``; with an address the cluster is asked
        what it has. ``calibrate`` measures steps for about so many seconds first, ``devices`` (``"4xH100"``) are a
        cluster that is not here. ``frame`` has a row for each trial. Raises UsageError, ClusterError, GoneError,
        StorageError."""
        from orchestrator.api import views
        from orchestrator.execution.forecast import Asked, forecast

        self._refuse_gone()
        sweep, room = self._now(), room_of(address, cpus, gpus, slots)
        asked = Asked(calibrate=calibrate, devices=devices, price=price)
        return views.of_plan(sweep, forecast(sweep, self._ledger, room, asked), self._ledger)

    def run(
        self,
        *,
        address: str | None = None,
        cpus: int | None = None,
        gpus: float | str | None = None,
        slots: int | None = None,
        retry_failed: bool = False,
        rerun: str | Iterable[str] = (),
        snapshot: bool = False,
        notify: str | None = None,
        check_md5: bool = True,
        quiet: bool = False,
        until: str | datetime | timedelta | None = None,
        at_most: str | Iterable[str] = (),
        price: str | None = None,
        grace: str | timedelta | None = None,
        wait_for_nodes: bool = False,
    ) -> View:
        """Runs what is left, with the settings of ``orchestrate sweep``, and gives the report; the same call goes on
        after anything. ``rerun`` names trials that are trained again first, such as ``"aann (2,8) seed 1"``; the result
        of each stays until the new one is there. ``quiet`` shows no progress. ``until`` (``"07:00"``, ``"8h"``) and
        ``at_most`` (``["20 gpu-hours"]``) are the limits of the command; ``price`` is that of a device's hour
        (``"2.50 EUR"``). ``grace`` (``"8m"``) is how long running trials may take to save their state once the call is
        told to stop, 30 seconds by default. ``wait_for_nodes`` waits for nodes that an autoscaler adds to the cluster.

        Stops once the running trials have saved their state where it is interrupted (ctrl-C, or the notebook's stop),
        and at once by KeyboardInterrupt the second time. Raises RunError where trials have not ended, with the reasons;
        what has ended can be read all the same. Raises UsageError, GoneError, StorageError, HeldError, ClusterError.
        """
        from rich.console import Console

        from orchestrator.api import views
        from orchestrator.execution import driver
        from orchestrator.execution.rerun import meant
        from orchestrator.sweep.limits import limits_of

        self._refuse_gone()
        if threading.current_thread() is not threading.main_thread():
            raise UsageError("run: must be called in the main thread, which alone hears ctrl-C")
        sweep, again = self._now(), [rerun] if isinstance(rerun, str) else rerun
        ended = driver.run(
            sweep,
            driver.SweepSettings.of(
                self._places,
                room_of(address, cpus, gpus, slots),
                tracking_uri=self._places.tracking_uri,
                check_md5=check_md5,
                limits=limits_of(until, at_most, price or sweep.price, named=lambda name: name.replace("-", "_")),
                grace=_seconds_of_grace(grace),
                wait_for_nodes=wait_for_nodes,
                retry_failed=retry_failed,
                rerun=meant(sweep, again, self._ledger),
                snapshot=snapshot,
                notify=self._whom_to_notify(notify),
            ),
            Console(stderr=True, quiet=quiet),
        )
        ended.check()
        return views.of_report(self._tables(), *([f"The whole report: {ended.page}"] if ended.page else []))

    def _whom_to_notify(self, given: str | None) -> notify.Notify | None:
        """The caller's own replaces the file's, which must be trusted."""
        own = notify.checked(given or from_environment(NOTIFY))
        if not own:
            with trusting.taken(self._trust):
                trusting.check(self._grid)
        return own

    # What it shows

    def status(self) -> View:
        """Where each trial stands, as ``orchestrate status``, also while the sweep runs elsewhere. ``frame`` has a row
        for each trial."""
        from orchestrator.api import views

        return views.of_status(status(self._now(), self._ledger))

    def report(self) -> View:
        """The verdicts at a glance and all tables, as ``orchestrate report``. ``frame`` is the table of mean errors."""
        from orchestrator.api import views

        return views.of_report(self._tables())

    def verdicts(self) -> View:
        """Which method is better than the baseline, how surely, and where. ``frame`` has a row for each verdict."""
        from orchestrator.api import views

        tables = self._tables()
        return views.of_verdicts(tables, list(tables.records.values()))

    def decisions(self) -> DataFrame:
        """A row for each comparison that the sweep is to decide: ``comparison``, ``decision``, ``e_value`` and the
        ``threshold`` that decides, ``wins``, ``losses`` and ``ties`` of its pairs, ``seeds`` of at most ``most_seeds``.
        Raises UsageError for a sweep that has nothing to decide."""
        from orchestrator.report.verdicts.decisions import decision_rows

        if (deciding := self._now().deciding) is None:
            raise UsageError(f"{self.name} has nothing to decide: give `decide` with comparisons")
        rows = decision_rows(deciding)
        return frames.of_rows(rows, list(rows[0]))

    def log(self, *words: str, seed: int | None = None, tail: int | None = None) -> str:
        """What one trial printed and logged so far, attempt by attempt, as ``orchestrate logs``; of ``tail`` lines the
        last ones. Empty where it said nothing."""
        from orchestrator.analysis.trace import find_stored
        from orchestrator.report.views import follow

        return follow.so_far(self._ledger, find_stored(self._now(), _joined(words, seed), self._ledger), tail)

    def bundle(self, path: AnyPath, *, networks: bool = False) -> Path:
        """Writes what has ended as one file, to be given away, as ``orchestrate bundle``; with the trained networks or
        without. Raises UsageError, also for a sweep without a file, which ``save`` writes."""
        from orchestrator.ledger import bundling
        from orchestrator.ledger.bundle import SUFFIX

        output, sweep = Path(expanded(os.fspath(path))), self._now()
        if self._content is not None:
            raise UsageError(
                f"{self.name}: a bundle holds the sweep's file, and this one has none; save it, and load that"
            )
        if output.suffix != SUFFIX:
            raise UsageError(f"{output}: must end in {SUFFIX}, by which commands know a bundle")
        bundling.write(sweep, self._ledger, output, sweep.ids if networks else ())
        return output

    # What people say of it

    def note(self, text: str, *words: str, seed: int | None = None) -> str:
        """Writes down a note on the trial that the words mean, or without words on the sweep, as ``orchestrate note``.
        Gives its id."""
        from orchestrator.execution import noting

        return noting.note(self._now(), self._ledger, _joined(words, seed), text).id

    def notes(self) -> DataFrame:
        """A row for each note on the sweep and its trials, oldest first: its id, time, who wrote it, what it is about,
        the id of that trial, and the note."""
        from orchestrator.ledger import notes
        from orchestrator.report.views import notes as render_notes

        sweep = self._now()
        return frames.of_rows(render_notes.rows(notes.of_sweep(sweep, self._ledger), sweep), render_notes.COLUMNS)

    # Its numbers

    def table(self, name: str) -> DataFrame:
        """One table as ``orchestrate report --format csv --table`` has it: ``errors``, ``wins``, ``increases``,
        ``verdicts``, ``sequences``, ``ranking``, ``matrix``, or one of outcomes, such as ``calibration``. Raises
        UsageError for another name."""
        tables = self._tables()
        if name not in (names := render.long_names()):
            raise UsageError(f"no table is named {name!r}{suggestion(name, names)}")
        long = render.long_table(name)
        return frames.of_rows(long.rows(tables), long.columns)

    def errors(self, *words: str, seed: int | None = None) -> DataFrame:
        """A row for each prediction of each trial that ended.

        Columns: method, network, dataset, seed; prediction and unit, from 1; fraction of the whole network's cost, and
        cost in multiply-adds of one image; error in percent, missing of a trial that diverged; images, which is what
        the error is of, test or validation; state; trial, its id.
        """
        sweep, cells = self._cells(words, seed)
        records = self._ledger.records(set(cells.values()))
        return frames.of_rows(tidy.error_rows(sweep, records, cells), tidy.ERRORS)

    def epochs(self, *words: str, seed: int | None = None) -> DataFrame:
        """A row for each epoch so far and prediction, of all trials that have begun: learning rate, losses, errors in
        percent, the probability with which the strategy amplifies the loss, seconds, and load of the machine.

        Whole sweeps can be long: 390 trials of 64,000 steps are some two million rows. Words choose.
        """
        sweep, cells = self._cells(words, seed)
        records = self._ledger.records(set(cells.values()))
        return frames.of_rows(tidy.epoch_rows(sweep, records, self._ledger.epochs, cells), tidy.EPOCHS)

    def outcomes(self, *words: str, seed: int | None = None) -> DataFrame:
        """A row for each prediction and image of trials that finished: label, answer and whether that is right, the
        largest probability (confidence), that of the true class, and entropy in nats. ``image`` counts from 0 in its
        split.

        Trials without outcomes are left out with a warning; ``orchestrate outcomes`` writes theirs. Raises UsageError
        where none has any.
        """
        sweep, cells = self._cells(words, seed)
        records = {name: it for name, it in self._ledger.records(set(cells.values())).items() if it.result.errors}
        kept = {name: self._ledger.outcomes(name) for name in records}
        self._warn_of_lacking([name for name in records if not kept[name]], len(records))
        configs = {trial.id: trial.config for trial in sweep.trials}
        blocks = [
            block
            for cell, name in cells.items()
            if kept.get(name)
            for block in tidy.outcome_columns(cell, configs[name], records[name], kept[name])
        ]
        return frames.of_blocks(blocks, tidy.OUTCOMES, "image")

    def _warn_of_lacking(self, lacking: Sequence[str], finished: int) -> None:
        if not finished:
            raise UsageError(f"{self.name}: none of these trials has finished in {self._ledger.storage}")
        if lacking:
            said = f"{self.name}: {len(lacking)} of {counted(finished, 'trial')} that finished have no outcomes"
            said += "; `orchestrate outcomes` writes them"
            if len(lacking) == finished:
                raise UsageError(said)
            warnings.warn(said, stacklevel=3)

    # Its networks

    def network(self, *words: str, device: str | None = None) -> TrainedNetwork:
        """The trained network of one cell: ``network(images)`` gives logits [L,N,K] of pixels [N,C,H,W] as the data set
        has them. It is on CUDA where there is one, unless a ``device`` is given. Imports torch. Raises UsageError,
        CheckpointError."""
        from orchestrator.inference import lookup

        (found,) = self._networks(words)
        return lookup.network(found, self._ledger, device)

    def predictor(self, *words: str, sequence: bool = False, device: str | None = None) -> ExponentialSequence:
        """The same as a predictor, which refines its answers until it is interrupted; with ``sequence`` the networks of
        all depths that the words fit, one after the other."""
        from orchestrator.inference import lookup

        return lookup.predictor(self._networks(words, sequence=sequence), self._ledger, device)

    def _networks(self, words: Sequence[str], *, sequence: bool = False) -> list[TrainedTrial]:
        from orchestrator.inference import lookup
        from orchestrator.system.environment import prepare_torch

        prepare_torch()
        return lookup.find_in(self._now(), " ".join(words), self._ledger, sequence=sequence)

    # What all of them need

    @property
    def _ledger(self) -> Ledger:
        return self._places.ledger

    def _now(self) -> grid.Sweep:
        """With what tuning has chosen by now; its extensions are those that are known, whatever sweep came last."""
        loading.activate(self._grid.extensions)
        return chosen(self._grid, self._ledger)

    def _tables(self) -> Tables:
        return read_tables(self._now(), self._ledger)

    def _cells(self, words: Sequence[str], seed: int | None) -> tuple[grid.Sweep, tidy.Cells]:
        sweep = self._now()
        return sweep, trace.cells_by_words(sweep, _joined(words, seed))

    def _refuse_gone(self) -> None:
        if self._gone:
            raise GoneError(self._gone)


def _seconds_of_grace(given: str | timedelta | None) -> float:
    """Raises UsageError."""
    if given is None:
        given = from_environment(GRACE) or f"{PATIENCE}s"
    try:
        return span(given)
    except ValueError as error:
        by = f" (given by {given.variable})" if isinstance(given, FromEnvironment) else ""
        raise UsageError(f"grace: {error}{by}") from None


def _joined(words: Sequence[str], seed: int | None) -> str:
    return " ".join([*words, *([] if seed is None else [f"seed {seed}"])])


def load(
    path: AnyPath,
    *,
    storage: AnyPath | None = None,
    data_root: AnyPath | None = None,
    tracking_uri: str | None = None,
    trust: bool = False,
) -> Sweep:
    """The sweep of a file. ``storage``, ``data_root`` and ``tracking_uri`` are as for ``orchestrate``: by default
    ``runs`` and what lies in it, or what its variables say, such as ORCHESTRATE_STORAGE.

    A file that names extensions, a command or a webhook must be trusted: ``trust=True`` says that you have looked at
    them. Where extensions or data are gone, this is the sweep as it last ran, with a warning: it can be read, not run.
    Raises UsageError, and SweepError with every fault of the file.
    """
    places = places_of(storage, data_root, tracking_uri)
    sweep = Sweep._of_file(Path(expanded(os.fspath(path))), places, trust=trust)
    if sweep._gone:
        warnings.warn(sweep._gone, stacklevel=2)
    return sweep
