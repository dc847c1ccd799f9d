"""The commands on trained networks: classify images, measure, and write a file that runs elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli import options
from orchestrator.cli.main import end
from orchestrator.cli.output import check_writable, print_written, say
from orchestrator.cli.parameter_types import FileOrFolder
from orchestrator.cli.places import Places
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.inference.lookup import TrainedTrial

BACKGROUNDS = ("black", "white")


def _find(words: Sequence[str], places: Places, *, sequence: bool = False) -> list[TrainedTrial]:
    from orchestrator.inference import lookup

    def trial_of(run_id: str) -> str:
        from orchestrator.tracking import store

        return store.trial_of(run_id, places.tracking_uri)

    return lookup.find(words, places.ledger, sequence=sequence, trial_of=trial_of)


@click.command()
@options.on_networks("NETWORK... IMAGE...")
@click.option("--deadline", metavar="TIME", help="Answer within so much time, such as 5ms.")
@click.option("--budget", type=float, help="A part of the whole cost up to 1; above 1, multiply-adds of one image.")
@click.option("--confidence", type=float, help="Stop once some class is so probable, from 0 to 1.")
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
    from orchestrator.inference import images as pictures
    from orchestrator.inference import lookup
    from orchestrator.inference import predict as predicting
    from orchestrator.inference import profile as profiling
    from orchestrator.report import render

    paths = pictures.paths_of(words)
    limits = predicting.Limits.of(deadline, budget, confidence)
    members = _find([word for word in words if not pictures.is_image(word)], places, sequence=sequence)
    dataset = dataset_of(members[0].config.data)
    images = pictures.read(paths, dataset, resize=resize, background=background, brightest=brightest)
    tell: Callable[[str], object] = say if form == "table" else str
    with profiling.threads(threads):
        predictor = lookup.predictor(members, places.ledger, device)
        answers = [predicting.answer(predictor, members, image, limits, tell) for image in images]
    if form == "json":
        say(render.as_json(answers), form)


@click.command()
@options.on_networks("NETWORK...")
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
    from orchestrator.report import render
    from orchestrator.report.losses import Losses
    from orchestrator.sweepfile.load import load

    if output:
        check_writable("--output", output)
    settings = profiling.ProfileSettings(repeats=repeats, batch=batch, device=device, threads=threads)
    ledger = places.ledger
    if len(words) == 1 and lookup.is_sweep(words[0]) and not sequence:
        shown = profiling.of_sweep(load(Path(words[0])), ledger, settings, by_time=by_time)
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
@options.on_networks("NETWORK")
@click.option("--output", type=FileOrFolder(folder=False), required=True, help="The file, a .zip.")
def export(words: tuple[str, ...], places: Places, output: Path) -> None:
    """Write a network as one file for ONNX Runtime.

    It is run unit by unit, and runs itself: `python FILE image.npy`.

    NETWORK is as for `predict`. Needs `pip install -e '.[export]'`; to run the file, numpy and onnxruntime are enough.
    """
    from orchestrator.inference import export as exporting
    from orchestrator.inference import lookup

    check_writable("--output", output.parent)
    trials = _find(words, places)
    if len(trials) > 1:
        raise UsageError(f"{len(trials)} networks are given; a file holds one")
    exporting.export(lookup.network(trials[0], places.ledger, "cpu"), exporting.describe(trials[0]), output)
    print_written(output)
