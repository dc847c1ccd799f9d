"""What was found in data of the user's own, for people and machines."""

from __future__ import annotations

from typing import Any

import numpy as np

from anytime_core.data.dataset import channel_moments
from anytime_core.data.own.reading import OwnImages
from anytime_core.data.own.source import SPLITS, Source
from orchestrator.report.views import render
from orchestrator.text import counted


def data_document(source: Source, found: OwnImages) -> dict[str, Any]:
    """All of it, as JSON holds it. ``mean`` and ``std`` are those of the training images, channel by channel."""
    own = found.described
    mean, std = channel_moments(found.images.train_images)
    return {
        "name": source.name,
        "path": str(source.path),
        "format": source.format,
        "content": own.content,
        "channels": own.channels,
        "size": own.size,
        "mean": mean.tolist(),
        "std": std.tolist(),
        "images": _counts(found),
        "first": found.first,
        "notes": found.notes,
        "ignored": found.ignored,
        "shared": found.shared,
    }


def _counts(found: OwnImages) -> dict[str, dict[str, int]]:
    """Images by split and class."""
    counts = {}
    for split in SPLITS:
        if (labels := getattr(found.images, f"{split}_labels")) is not None:
            of_classes = np.bincount(labels, minlength=len(found.class_names)).tolist()
            counts[split] = dict(zip(found.class_names, of_classes, strict=True))
    return counts


def data_rows(source: Source, found: OwnImages) -> list[dict[str, Any]]:
    """A row for each class: its images in each split."""
    counts = _counts(found)
    return [
        {"data": source.name, "class": name, **{split: own[name] for split, own in counts.items()}}
        for name in found.class_names
    ]


def data_text(source: Source, found: OwnImages) -> str:
    whole = data_document(source, found)
    pixels = f"{whole['size']} x {whole['size']} pixels, {counted(whole['channels'], 'channel')}"
    moments = ", ".join(f"{mean:.2f} ±{std:.2f}" for mean, std in zip(whole["mean"], whole["std"], strict=True))
    totals = {"class": "all", **{split: sum(own.values()) for split, own in whole["images"].items()}}
    rows = [{key: value for key, value in row.items() if key != "data"} for row in data_rows(source, found)]
    notes = [f"{count} x {note}" for note, count in found.notes.items()]
    notes += [f"ignored: {counted(found.ignored, 'file')} such as .DS_Store"] if found.ignored else []
    notes += [f"test images that are training images, too: {found.shared}"] if found.shared else []
    firsts = [f"first {split} images: {', '.join(names)}" for split, names in found.first.items()]
    title = f"{source.name}, {source.path} ({source.format}): {pixels}"
    return "\n".join(
        [
            render.as_text(title, [*rows, totals]),
            "",
            *(
                f" {line}"
                for line in (f"content: {whole['content']}", f"mean and deviation: {moments}", *firsts, *notes)
            ),
        ]
    )
