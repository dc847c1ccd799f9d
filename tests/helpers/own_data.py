"""Small data sets of a user's own, as files."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = 8
COUNTS = {"train": 6, "test": 2}
"""Images of each class."""


def pixels(*, channels: int = 3, size: int = SIZE, seed: int = 0, counts: dict[str, int] = COUNTS) -> dict[str, Any]:
    """Arrays [N,C,S,S] and labels [N] of two classes, split by split, no two images alike."""
    rng, arrays = np.random.default_rng(seed), {}
    for split, count in counts.items():
        arrays[f"{split}_images"] = rng.integers(0, 256, (2 * count, channels, size, size), np.uint8)
        arrays[f"{split}_labels"] = np.arange(2 * count) % 2
    return arrays


def picture(image: np.ndarray) -> Image.Image:
    """Of bytes [C,S,S]."""
    return Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    picture(image).save(file, "PNG")
    return file.getvalue()


def as_folder(root: Path, arrays: dict[str, Any], classes: tuple[str, ...] = ("cat", "dog")) -> Path:
    for split in {name.partition("_")[0] for name in arrays}:
        images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            folder = root / split / classes[label]
            folder.mkdir(parents=True, exist_ok=True)
            picture(image).save(folder / f"{index:03}.png")
    return root


def as_npz(path: Path, arrays: dict[str, Any], classes: tuple[str, ...] = ("cat", "dog")) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays, class_names=np.array(classes))
    return path


def as_parquet(
    root: Path, arrays: dict[str, Any], classes: tuple[str, ...] | None = ("cat", "dog"), *, struct: bool = True
) -> Path:
    """As the hub's own library writes it; ``classes`` of None leaves the metadata out."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    root.mkdir(parents=True, exist_ok=True)
    for split in {name.partition("_")[0] for name in arrays}:
        cells: list[Any] = [png(image) for image in arrays[f"{split}_images"]]
        if struct:
            cells = [{"bytes": content, "path": f"{index}.png"} for index, content in enumerate(cells)]
        table = pa.table({"image": cells, "label": pa.array(arrays[f"{split}_labels"], pa.int64())})
        if classes:
            features = {"image": {"_type": "Image"}, "label": {"names": list(classes), "_type": "ClassLabel"}}
            table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        pq.write_table(table, root / f"{split}-00000-of-00001.parquet")
    return root
