"""The commands on trained networks: classify images, find thresholds, measure, and write a file that runs elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli import options
from orchestrator.cli.main import end
from orchestrator.cli.output import check_writable, print_written, say
from orchestrator.cli.parameter_types import FileOrFolder
from orchestrator.errors import UsageError
from orchestrator.places import Places

if TYPE_CHECKING:
    from orchestrator.inference.guarantees import Asked
    from orchestrator.inference.lookup import TrainedTrial
    from orchestrator.inference.predict import Limits
    from orchestrator.ledger.guarantees_file import Split

BACKGROUNDS = ("black", "white")
SPLITS = ("validation", "test")
WIDTH = 80
"""Of a sentence, in columns."""


def _find(words: Sequence[str], places: Places, *, sequence: bool = False) -> list[TrainedTrial]:
    from orchestrator.inference import lookup

    def trial_of(run_id: str) -> str:
        from orchestrator.tracking import store

        return store.trial_of(run_id, places.tracking_uri)

    return lookup.find(words, places.ledger, sequence=sequence, trial_of=trial_of)


@click.command()
@options.on_networks("NETWORK... IMAGE...", read_only=True)
@click.option("--deadline", metavar="TIME", help="Answer within so much time, such as 5ms.")
@click.option("--budget", type=float, help="A part of the whole cost up to 1; above 1, multiply-adds of one image.")
@click.option("--confidence", type=float, help="Stop once some class is so probable, from 0 to 1.")
@options.with_a_guarantee()
@click.option("--resize", is_flag=True, help="Make pictures of another size fit.")
@click.option("--background", type=click.Choice(BACKGROUNDS), help="What is behind the transparent parts of pictures.")
@click.option("--brightest", type=float, metavar="WHITE", help="White in .npy files, such as 1 or 255, to be scaled.")
@options.as_a_predictor
@options.form(options.TABLE_OR_JSON)
def predict(
    words: tuple[str, ...],
    places: Places,
    deadline: str | None,
    budget: float | None,
    confidence: float | None,
    asked: Asked | None,
    resize: bool,
    background: str | None,
    brightest: float | None,
    sequence: bool,
    device: str | None,
    threads: int | None,
    form: str,
) -> None:
    """Classify images with a network that refines its answer.

    NETWORK is a trial's id, its first digits, an id of an MLflow run, or SWEEP.yaml and words of a cell, as for `show`.
    Several ids are a sequence, run by depth. An IMAGE is a .png, .jpg, or an .npy of pixels as the data set has them.
    Each image has the limits to itself; what comes after its deadline says by how much.
    """
    from anytime_core.data.catalog import dataset_of
    from orchestrator.inference import guarantees, lookup
    from orchestrator.inference import images as pictures
    from orchestrator.inference import predict as predicting
    from orchestrator.inference import profile as profiling
    from orchestrator.report.views import render

    paths = pictures.paths_of(words)
    limits = predicting.Limits.of(deadline, budget, confidence)
    members = _find([word for word in words if not pictures.is_image(word)], places, sequence=sequence)
    dataset = dataset_of(members[0].config.data)
    images = pictures.read(paths, dataset, resize=resize, background=background, brightest=brightest)
    tell: Callable[[str], object] = say if form == "table" else str
    guarantee = guarantees.find(members, places.ledger, asked) if asked else None
    if guarantee:
        limits = _told(guarantee, limits, tell)
    with profiling.threads(threads):
        predictor = lookup.predictor(members, places.ledger, device)
        answers = [predicting.answer(predictor, members, image, limits, tell) for image in images]
    if form == "json":
        more = {"guarantee": dict(guarantee)} if guarantee else {}
        say(render.as_json([it | more for it in answers]), form)


def _told(guarantee: Mapping[str, Any], limits: Limits, tell: Callable[[str], object]) -> Limits:
    """The limits with the guarantee's threshold; prints what it means, and what may undo it."""
    from anytime_core.inputs import cut_short

    tell(fill(guarantee["sentence"], WIDTH) + "\n")
    if note := cut_short(limits.deadline, limits.budget):
        say(fill(f"note: {note}", WIDTH), err=True)
    return replace(limits, threshold=guarantee["threshold"])


@click.command()
@options.on_networks("NETWORK")
@options.with_a_guarantee(required=True)
@click.option(
    "--on",
    "split",
    type=click.Choice(SPLITS),
    default="validation",
    show_default=True,
    help="The held-out images. With test, the test error at the threshold is no honest measurement any more.",
)
@options.form(options.TABLE_OR_JSON)
def calibrate(words: tuple[str, ...], places: Places, asked: Asked, split: Split, form: str) -> None:
    """Find when a network may answer early, with a guarantee.

    Of new images like those that were held out, at most the share --risk loses a right answer by leaving early. The
    threshold is kept beside the network, for `predict --risk` and for the file that `export` writes.

    NETWORK is as for `predict`. Its answers must be kept, as trials and `orchestrate outcomes` do.
    """
    from orchestrator.inference import guarantees
    from orchestrator.report.views import render

    trials = _find(words, places)
    if len(trials) > 1:
        raise UsageError(f"{len(trials)} networks are given; a guarantee is for one")
    found = guarantees.calibrate(trials[0], places.ledger, asked, split)
    if form == "json":
        say(render.as_json(guarantees.as_json(found)), form)
        return
    say(f"{found.trial.label}\n\n{fill(found.sentence, WIDTH)}\n")
    for title, rows in guarantees.tables(found):
        say(render.as_text(title, rows) + "\n")
    for note in found.notes:
        say(fill(f"note: {note}", WIDTH), err=True)


@click.command()
@options.on_networks("NETWORK...", read_only=True)
@click.option("--time", "by_time", is_flag=True, help="Of a sweep: by time measured here, not by multiply-adds.")
@click.option("--repeats", type=click.IntRange(min=1), default=30, show_default=True, help="Calls that are measured.")
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Images at once.")
@click.option("--output", type=FileOrFolder(file=False), help="Write table and figure there too.")
@options.as_a_predictor
@options.form(options.ROWS)
def profile(
    words: tuple[str, ...],
    places: Places,
    by_time: bool,
    repeats: int,
    batch: int,
    output: Path | None,
    sequence: bool,
    device: str | None,
    threads: int | None,
    form: str,
) -> None:
    """Measure a network's predictions, or compare a sweep's.

    Of a network: cost, error and time of each prediction, here. Of a sweep: which network is best at each budget.

    NETWORK is as for `predict`; SWEEP.yaml alone is all of its networks that have finished, and sequences of them. In
    a folder, --output, the figure is a .png and a .svg, the table a .csv.
    """
    from orchestrator.inference import lookup
    from orchestrator.inference import profile as profiling
    from orchestrator.ledger.choices import chosen
    from orchestrator.report.losses import Losses
    from orchestrator.report.views import render
    from orchestrator.sweepfile.load import load

    if output:
        check_writable("--output", output)
    settings = profiling.ProfileSettings(repeats=repeats, batch=batch, device=device, threads=threads)
    ledger = places.ledger
    if len(words) == 1 and lookup.is_sweep(words[0]) and not sequence:
        shown = profiling.of_sweep(chosen(load(Path(words[0])), ledger), ledger, settings, by_time=by_time)
    elif by_time:
        raise UsageError("--time is for all of a sweep: one network's time is always measured")
    else:
        shown = profiling.of_networks(_find(words, places, sequence=sequence), ledger, settings)
    say(render.show(shown.tables, form), form)
    losses = Losses()
    for path in profiling.write(shown, output, losses) if output else ():
        print_written(path, err=form != "table")
    if losses:
        end("\n".join(losses.lines), 1)


@click.command()
@options.on_networks("NETWORK", read_only=True)
@click.option("--output", type=FileOrFolder(folder=False), required=True, help="The file, a .zip.")
def export(words: tuple[str, ...], places: Places, output: Path) -> None:
    """Write a network as one file for ONNX Runtime.

    It is run unit by unit, and runs itself: `python FILE image.npy`. It holds the guarantees of `calibrate`, too.

    NETWORK is as for `predict`. Needs `pip install -e '.[export]'`; to run the file, numpy and onnxruntime are enough.
    """
    from anytime_core.inputs import as_options
    from orchestrator.inference import export as exporting
    from orchestrator.inference import guarantees, lookup

    check_writable("--output", output.parent)
    trials = _find(words, places)
    if len(trials) > 1:
        raise UsageError(f"{len(trials)} networks are given; a file holds one")
    kept = guarantees.kept(trials[0], places.ledger)
    exporting.export(lookup.network(trials[0], places.ledger, "cpu"), exporting.describe(trials[0]), output, kept)
    print_written(output)
    if kept:
        say(f"with the thresholds of {', '.join(map(as_options, kept))}")
