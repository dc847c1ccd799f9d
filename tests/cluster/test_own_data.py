"""Data of a user's own from a folder of pictures to answers by name, on real Ray."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cluster_user import ORCHESTRATE, User
from PIL import Image

pytestmark = pytest.mark.cluster

SWEEP = """
name: shapes
networks: [{n: 1, c: 4}]
datasets:
  - {name: shades, path: DATA, format: image_folder, size: 8}
  - digits
methods: {ann: {}}
training: {steps: 30, batch_size: 16, learning_rate: {0: 0.05}}
report: {baseline: ann, figures: [cost]}
"""
CLASSES = {"dark": (0, 90), "light": (160, 256), "reddish": None}


def draw(name: str, rng: np.random.Generator) -> np.ndarray:
    """Twelve pixels a side; three classes that a small network tells apart."""
    if levels := CLASSES[name]:
        return rng.integers(*levels, (12, 12, 3), dtype=np.uint8)
    image = rng.integers(0, 60, (12, 12, 3), dtype=np.uint8)
    image[..., 0] = 220
    return image


@pytest.fixture
def shades(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, count in (("train", 24), ("test", 6)):
        for name in CLASSES:
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                Image.fromarray(draw(name, rng)).save(folder / f"{index}.png")
    return tmp_path / "data"


def plan(user: User) -> dict[str, Any]:
    """The row of each data set's one trial."""
    return {row["dataset"]: row for row in json.loads(user.run("plan", "--format", "json").stdout)}


def test_a_folder_of_pictures_trains_and_answers_by_the_names_of_its_classes(tmp_path: Path, shades: Path) -> None:
    user = User(tmp_path, SWEEP.replace("DATA", str(shades)))
    done = user.run("sweep")
    assert done.code == 0, done.stderr
    assert "shades" in done.stdout
    first = plan(user)
    assert {row["action"] for row in first.values()} == {"keep"}
    own = user.results()[first["shades"]["id"]]
    assert own["config"]["data"]["own"]["class_names"] == ["dark", "light", "reddish"]
    assert own["provenance"]["data_hash"] == own["config"]["data"]["own"]["content"]
    assert str(shades) not in json.dumps(own["config"])
    logged = user.database().execute("SELECT name, digest FROM datasets").fetchall()
    assert ("shades", own["provenance"]["data_hash"]) in logged

    moved = Path(shutil.move(shades, tmp_path / "elsewhere"))
    user.sweep_file.write_text(SWEEP.replace("DATA", "elsewhere"))
    assert plan(user) == first

    Image.fromarray(draw("reddish", np.random.default_rng(1))).save(tmp_path / "new.png")
    command = [ORCHESTRATE, "predict", first["shades"]["id"], tmp_path / "new.png", "--resize", "--format", "json"]
    said = subprocess.run(
        [*command, "--storage", user.storage], env=user.environment, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    assert '"answer": "reddish"' in said.stdout

    path = moved / "train" / "dark" / "0.png"
    image = np.array(Image.open(path))
    image[0, 0] = 255 - image[0, 0]
    Image.fromarray(image).save(path)
    now = plan(user)
    assert now["digits"] == first["digits"]
    assert (now["shades"]["id"] != first["shades"]["id"], now["shades"]["action"]) == (True, "run")
    assert "shades has changed since this sweep last ran: it was" in user.run("plan").stdout
