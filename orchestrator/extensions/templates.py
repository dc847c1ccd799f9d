"""The files that ``orchestrate extension new`` begins an extension with: each passes its own check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from keyword import iskeyword
from pathlib import Path

from orchestrator.errors import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class Template:
    """``base`` is the class to write below, ``imports`` are lines before the class, ``body`` is its inside, and
    ``test`` one statement that holds of ``part``, made with its defaults."""

    base: str
    says: str
    body: str
    test: str
    also: tuple[str, ...] = ()
    imports: str = ""


WEIGHTS = Template(
    base="Weighting",
    says="Weights of the losses that rise to the cost of each prediction as training proceeds.",
    also=("Progress",),
    body='''    power: float = 1.0

    def weights(self, costs, progress: Progress):
        """costs [L] from above 0 to 1 -> weights [L], as an epoch begins"""
        return [(0.01 + progress.fraction * cost) ** self.power for cost in costs]
''',
    test="assert part.weights([0.5, 1.0], Progress(epoch=1, fraction=0.5)) == [0.26, 0.51]",
)
STRATEGY = Template(
    base="Strategy",
    says="Weights of a step that follow a running mean of the losses: what is small already counts for more.",
    imports="import torch",
    body='''    momentum: float = 0.9

    def start(self, base, milestones):
        return {"mean": torch.ones_like(base)}

    def weights(self, state, base, chosen, noise):
        """-> [L]"""
        relative = base / state["mean"].clamp_min(1e-8)
        return relative / relative.sum() * base.sum()

    def update(self, state, step):
        return {"mean": torch.lerp(step.losses, state["mean"], self.momentum)}
''',
    test="""base = torch.ones(2)
    assert part.weights({"mean": torch.tensor([1.0, 3.0])}, base, base, None).tolist() == [1.5, 0.5]""",
)
OBJECTIVE = Template(
    base="Objective",
    says="Cross-entropies with labels that are smoothed.",
    imports="from torch.nn.functional import cross_entropy",
    body='''    smoothing: float = 0.1

    def losses(self, state, logits, labels):
        """logits [L,N,K], labels [N] -> [L]"""
        return torch.stack([cross_entropy(one, labels, label_smoothing=self.smoothing) for one in logits])
''',
    test="""losses = part.losses({}, torch.zeros(3, 4, 10), torch.zeros(4, dtype=torch.int64))
    assert torch.allclose(losses, torch.full((3,), 10.0).log())""",
)
ANSWERS = Template(
    base="Answers",
    says="Each prediction answers with the mean of the logits so far.",
    body='''    def answers(self, logits):
        """[L,N,K] -> [L,N,K], answer i from the first i predictions alone"""
        upto = torch.tril(logits.new_ones(len(logits), len(logits)))
        return torch.einsum("ij,jnk->ink", upto / upto.sum(1, keepdim=True), logits)
''',
    test="assert part.answers(torch.tensor([[[2.0]], [[4.0]]])).flatten().tolist() == [2.0, 3.0]",
)
FLOW = Template(
    base="GradientFlow",
    says="Each unit sees the mean of the gradients of the predictions behind it (gradient equilibrium).",
    body='''    def factors(self, costs):
        """For each prediction: of its head's gradient, and of that of the rest of the network."""
        behind = range(len(costs) - 1, -1, -1)
        return [(1 / (rest + 1), rest / (rest + 1)) for rest in behind]
''',
    test="assert part.factors([0.5, 1.0]) == [(0.5, 0.5), (1.0, 0.0)]",
)
REGIME = Template(
    base="Regime",
    says="The last prediction first, then all of them.",
    imports="from anytime_core.training.regimes import Phase",
    body="""    def count(self, predictions):
        return 2

    def phases(self, network):
        names = frozenset(name for name, _ in network.named_parameters())
        last = network.predicting_units[-1]
        others = len(network.predicting_units) - 1
        return [Phase((*[0.0] * others, 1.0), names, last), Phase((1.0,) * (others + 1), names, last)]
""",
    test="assert part.count(6) == 2",
)
NETWORK = Template(
    base="StagedNetwork",
    says="A perceptron with a prediction behind each of its hidden layers.",
    imports="from torch import nn",
    body='''    width: int = 64
    depth: int = 3

    @property
    def predicting_stages(self):
        """Those that have a head, counted from 1."""
        return range(1, self.depth + 1)

    def stages(self, classes, channels, size):
        """The body and the head of each, for images [N,C,S,S] of that many channels and pixels of a side"""
        sizes = [channels * size**2] + [self.width] * self.depth
        layers = [nn.Sequential(nn.Linear(before, after), nn.ReLU()) for before, after in zip(sizes, sizes[1:])]
        layers[0].insert(0, nn.Flatten())
        return [(layer, nn.Linear(self.width, classes)) for layer in layers]
''',
    test="assert [tuple(z.shape) for z in part.build(10, 1, 8)(torch.zeros(2, 1, 8, 8))] == [(2, 10)] * 3",
)
READER = Template(
    base="Reader",
    says="Files train.bin and test.bin of records: a byte of label, then the bytes of an image, as CIFAR-10 has them.",
    imports="import numpy as np",
    body='''    channels: int = 3
    side: int = 32

    def files(self, path):
        """It reads again once one of these changes."""
        return [path / "train.bin", path / "test.bin"]

    def read(self, path):
        """Arrays by name: uint8 images [N,C,S,S] and labels [N] of both splits"""
        arrays = {}
        for split in ("train", "test"):
            content = np.fromfile(path / f"{split}.bin", np.uint8)
            if content.size % (record := 1 + self.channels * self.side**2):
                raise ValueError(f"{split}.bin has {content.size} bytes, must be a multiple of {record}")
            records = content.reshape(-1, record)
            arrays[f"{split}_images"] = records[:, 1:].reshape(-1, self.channels, self.side, self.side)
            arrays[f"{split}_labels"] = records[:, 0]
        return arrays
''',
    test="""part = replace(part, channels=1, side=2)
    for split in ("train", "test"):
        (tmp_path / f"{split}.bin").write_bytes(bytes([0, 1, 2, 3, 4, 1, 5, 6, 7, 8]))
    assert part.read(tmp_path)["train_labels"].tolist() == [0, 1]
    assert part.read(tmp_path)["test_images"][1].tolist() == [[[5, 6], [7, 8]]]""",
)
TEMPLATES: Mapping[str, Template] = {
    "weights": WEIGHTS,
    "strategy": STRATEGY,
    "objective": OBJECTIVE,
    "answers": ANSWERS,
    "flow": FLOW,
    "regime": REGIME,
    "network": NETWORK,
    "reader": READER,
}


def write(name: str, kind: str, folder: Path) -> tuple[Path, Path]:
    """Writes an extension and its test. Raises UsageError for a name that cannot be, or is taken."""
    if not name.isidentifier() or iskeyword(name):
        raise UsageError(f"{name}: must be a name such as my_method: letters, digits and _, no digit first")
    paths = folder / f"{name}.py", folder / f"{name}_test.py"
    if there := [path for path in paths if path.exists()]:
        raise UsageError(f"{', '.join(map(str, there))}: there already; nothing was written")
    texts = _text(name, TEMPLATES[kind]), _test(name, kind, TEMPLATES[kind])
    for path, text in zip(paths, texts, strict=True):
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    return paths


def _class_of(name: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in name.split("_")) or "Mine"


def _text(name: str, template: Template) -> str:
    needs_torch = "torch." in template.body.replace("torch.nn", "")
    imports = sorted(filter(None, ["import torch" if needs_torch else "", *template.imports.splitlines()]), key=_order)
    doors = ", ".join(sorted((template.base, *template.also, "register"), key=lambda word: (word.islower(), word)))
    lines = [*dict.fromkeys(imports), "" if imports else None, f"from anytime_core.extend import {doors}"]
    return "\n".join(
        [
            f'"""{template.says}"""',
            "",
            "from dataclasses import dataclass",
            "",
            *(line for line in lines if line is not None),
            "",
            "",
            f'@register("{name}")',
            "@dataclass(frozen=True, kw_only=True)",
            f"class {_class_of(name)}({template.base}):",
            f'    """{template.says}"""',
            "",
            template.body,
        ]
    )


def _order(line: str) -> tuple[bool, str]:
    return not line.startswith("import"), line


def _test(name: str, kind: str, template: Template) -> str:
    own = ["import torch", ""] if "torch." in template.test else []
    folder = "tmp_path: Path" if "tmp_path" in template.test else ""
    also = f"from anytime_core.extend import {', '.join(template.also)}\n" if template.also else ""
    return (
        f'"""Whether {name}.py can be trained, resumed and sent to workers, and computes what it should."""\n\n'
        + ("from dataclasses import replace\n" if "replace(" in template.test else "")
        + "from pathlib import Path\n\n"
        + "\n".join(own)
        + ("\n" if own else "")
        + "from anytime_core.config import KINDS\n"
        + also
        + "from orchestrator.extensions import use\n"
        "from orchestrator.extensions.conformance import check_file\n\n"
        f'FILE = Path(__file__).with_name("{name}.py")\n\n\n'
        "def test_it_is_sound() -> None:\n"
        "    assert [finding.fault for verdict in check_file(FILE) for finding in verdict.findings] == []\n\n\n"
        f"def test_its_numbers({folder}) -> None:\n"
        "    use(str(FILE))\n"
        f'    part = KINDS["{kind}"]["{name}"]()\n'
        f"    {template.test}\n"
    )
