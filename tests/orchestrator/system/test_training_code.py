"""The hash of the code that trains a trial: moved by a constant that the trial's training comes to, and by no other."""

from __future__ import annotations

import ast
import re
import shutil
import sys
from pathlib import Path
from types import FrameType

import pytest

import anytime_core
from anytime_core.config import (
    KINDS,
    OURS,
    REGIMES,
    STRATEGIES,
    WEIGHTS,
    DataConfig,
    Joint,
    NetworkConfig,
    Opt,
    TrainingConfig,
    TrialConfig,
    WeightingConfig,
    our_parts,
)
from anytime_core.data import cache
from anytime_core.data.dataset import Images
from anytime_core.training.trainer import train
from orchestrator.system import training_code as code

FOLDER = Path(anytime_core.__file__).parent
TEXTS = {code._module(path.relative_to(FOLDER).as_posix()): path.read_text() for path in FOLDER.rglob("*.py")}
GRAPH = code.graph()
SHORT = TrainingConfig(steps=2, batch_size=16, learning_rate={0: 0.1})
SMALL = NetworkConfig(n=1, c=2)
DIGITS = cache.load("digits", None)
PARTS_OF_IMAGES = ("train_images", "train_labels", "test_images", "test_labels")
FEW = Images(**{name: getattr(DIGITS, name)[:32] for name in PARTS_OF_IMAGES})


def trial(**given: object) -> TrialConfig:
    values = {"network": SMALL, "data": DataConfig(name="digits", pad=1), "training": SHORT} | given
    return TrialConfig(**values)  # type: ignore[arg-type]


def _everything() -> dict[str, TrialConfig]:
    """A trial for each strategy, regime, kind of weights, network and data set, by its name."""
    found = {f"strategy {name}": trial(regime=Joint(strategy=kind())) for name, kind in STRATEGIES.items()}
    found |= {f"regime {name}": trial(regime=kind()) for name, kind in REGIMES.items() if name not in ("opt", "joint")}
    found |= {f"weights {name}": trial(regime=Joint(weights=WeightingConfig(name=name))) for name in WEIGHTS}
    found |= {f"data {name}": trial(data=DataConfig(name=name)) for name in ("cifar10", "svhn")}
    found["regime opt"] = trial(regime=Opt(unit=2))
    found["transition pooling"] = trial(network=NetworkConfig(n=1, c=2, transition="pooling"))
    for kind in KINDS:
        for name, part in our_parts(kind).items():
            if kind == "network":
                found[f"network {name}"] = trial(network=part())
            elif kind == "regime":
                found[f"regime {name}"] = trial(regime=part())
            else:
                found[f"{kind} {name}"] = trial(regime=Joint(**{kind: part()}))
    return found


TRIALS = _everything()
HASHES = {name: code.training_code(config) for name, config in TRIALS.items()}


def moved(module: str, text: str) -> set[str]:
    """The trials whose code is another once a module reads so."""
    assert text != TEXTS[module]
    others = {name: it for name, it in GRAPH.items() if name.partition(":")[0] != module}
    graph = others | dict(code._parsed({module: text}, TEXTS))
    return {name for name, config in TRIALS.items() if code.hash_in(graph, code.chosen_by(config)) != HASHES[name]}


def with_another_constant(module: str, name: str) -> str:
    """The module's text after the first number of a definition was made another."""
    text = TEXTS[module]
    (node,) = (it for it in ast.parse(text).body if getattr(it, "name", None) == name)
    checks = [part for part in ast.walk(node) if isinstance(part, ast.Call) and ast.unparse(part.func) == "refuse"]
    limits = {part for check in checks for part in ast.walk(check)}
    for part in ast.walk(node):
        if part not in limits and isinstance(part, ast.Constant) and type(part.value) in (int, float):
            lines = text.splitlines(keepends=True)
            line = lines[part.lineno - 1].encode()
            lines[part.lineno - 1] = (line[: part.col_offset] + b"77" + line[part.end_col_offset :]).decode()
            return "".join(lines)
    first = node.body[-1].lineno - 1  # type: ignore[attr-defined]
    lines = text.splitlines(keepends=True)
    indent = re.match(" *", lines[first])[0]  # type: ignore[index]
    return "".join([*lines[:first], f"{indent}print(77)\n", *lines[first:]])


def of(*kinds: type) -> set[str]:
    """The trials that have a part of one of these classes."""
    places = {place for kind in kinds for place in code._places(kind)[:1]}
    return {name for name, config in TRIALS.items() if places & code.chosen_by(config)}


PARTS = [*STRATEGIES.values(), *REGIMES.values(), *(part for kind in OURS for part in our_parts(kind).values())]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_a_constant_of_a_method_moves_the_code_of_exactly_its_trials(part: type) -> None:
    module = part.__module__.removeprefix("anytime_core.")
    expected = of(part)
    assert expected
    assert moved(module, with_another_constant(module, part.__name__)) == expected


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("training.selection:proportional", {"strategy aann"}),
        ("training.selection:halves", {"strategy milestone"}),
        ("training.selection:exp3", {"strategy exp3"}),
        ("training.selection:mixed", {"strategy exp3", "strategy rwm"}),
        ("training.selection:rewards", {"strategy exp3", "strategy rwm", "strategy avgl"}),
        ("training.regimes:midfeat", {"regime midfeat"}),
        ("training.weighting:linear", {"weights linear"}),
        ("training.weighting:half_end", {"weights half_end"}),
        ("methods.losses:cross_entropies", {"objective boosting", "objective famo"}),
        ("networks.fields:share", {"network msdnet"}),
        ("model.msdnet:DenseLayer", {"network msdnet"}),
        ("model.network:Unit", {*TRIALS} - {"network msdnet", "network feedback"}),
        ("training.surgery:Surgeon", {"strategy pcgrad", "strategy cagrad"}),
        ("data.formats:svhn", {"data svhn"}),
        ("training.optim:decays", {*TRIALS}),
        ("randomness:generator", {*TRIALS}),
        ("memory:parameter_count", set()),
        ("predictor:AnytimePredictor", set()),
        ("files:write_atomically", set()),
    ],
)
def test_a_constant_moves_the_code_of_the_trials_that_come_to_it(place: str, expected: set[str]) -> None:
    module, _, name = place.partition(":")
    assert moved(module, with_another_constant(module, name)) == expected


def test_comments_documentation_formatting_and_annotations_move_nothing() -> None:
    for write in (_rewritten, _commented):
        graph = code._parsed({module: write(text) for module, text in TEXTS.items()})
        assert {name: code.hash_in(graph, code.chosen_by(config)) for name, config in TRIALS.items()} == HASHES


def _rewritten(text: str) -> str:
    """As Python writes the same tree: without comments, all on lines of their own, in other quotes; with another text
    in place of each that documents."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                node.value.value = "something else"
            case ast.FunctionDef():
                node.returns = ast.Name(id="object")
    return ast.unparse(tree)


def _commented(text: str) -> str:
    """With a comment, and empty lines, before each statement of the module."""
    lines = text.splitlines()
    for node in reversed(ast.parse(text).body):
        first = min([node.lineno, *(it.lineno for it in getattr(node, "decorator_list", ()))])
        lines[first - 1 : first - 1] = ["", f"# {first}", ""]
    return "\n".join(lines)


def test_the_words_of_an_error_and_the_limits_of_a_value_move_nothing() -> None:
    assert not moved("model.network", TEXTS["model.network"].replace("must be ascending units", "must ascend"))
    assert not moved("training.weighting", TEXTS["training.weighting"].replace("must be at least 1", "must be more"))
    assert not moved(
        "methods.adaloss", TEXTS["methods.adaloss"].replace('within("momentum", self.momentum, 0, 1)', "None")
    )


def test_a_function_that_moves_to_another_module_and_one_that_nobody_uses_move_nothing() -> None:
    moving = "def cross_entropies(logits: Tensor, labels: Tensor) -> Tensor:"
    text = TEXTS["methods.losses"].replace(moving, moving.replace("cross_entropies", "unused"))
    here = TEXTS["methods.losses"]
    elsewhere = {
        **TEXTS,
        "methods.elsewhere": here,
        "methods.losses": "from anytime_core.methods.elsewhere import nothing\n",
    }
    users = [module for module, text in TEXTS.items() if "anytime_core.methods.losses" in text]
    elsewhere |= {module: TEXTS[module].replace("methods.losses", "methods.elsewhere") for module in users}
    graph = code._parsed(elsewhere)
    assert {name: code.hash_in(graph, code.chosen_by(config)) for name, config in TRIALS.items()} == HASHES
    assert not moved("methods.losses", f"{here}\n\n{text[text.index('def unused') : text.index('def of_log')]}")


def test_another_function_of_another_package_under_the_same_name_moves_its_users() -> None:
    text = TEXTS["model.network"]
    assert moved(
        "model.network",
        text.replace("avg_pool2d, batch_norm, pad", "avg_pool2d, pad").replace(
            "import Tensor, nn\n", "import Tensor, nn\nfrom torch.nn import batch_norm\n"
        ),
    ) == {*TRIALS}


def test_the_entries_of_a_table_are_not_to_be_confused() -> None:
    text = TEXTS["training.suiting"]
    swapped = text.replace(
        '"up_to(prediction)": "up_to", "head(prediction)": "head"',
        '"up_to(prediction)": "head", "head(prediction)": "up_to"',
    )
    assert moved("training.suiting", swapped) == {*TRIALS}


SMALL_PACKAGE = {
    "training.trainer": "from anytime_core import a\nfrom anytime_core.c import p as f, q as g\n"
    "def train(): return a.h(f(1), g(2))\n",
    "a": "from anytime_core.b import h\n",
    "b": "def h(x, y): return x - y\n",
    "c": "def p(x): return x + 1\ndef q(x): return x + 2\ndef step(x): return x + 3\n",
}


def of_small(**changed: str) -> str:
    """The hash of a small package, in which some modules read otherwise."""
    texts = SMALL_PACKAGE | {name.replace("__", "."): text for name, text in changed.items()}
    return code.hash_in(code._parsed(texts), frozenset())


def test_what_a_module_passes_on_counts_as_where_it_is_defined() -> None:
    assert of_small(b="def h(x, y): return y - x\n") != of_small()
    assert of_small(a="from anytime_core.d import h\n", d=SMALL_PACKAGE["b"]) == of_small()


def test_two_functions_that_change_their_names_at_a_user_move_it() -> None:
    trainer = SMALL_PACKAGE["training.trainer"]
    assert of_small(training__trainer=trainer.replace("p as f, q as g", "q as f, p as g")) != of_small()
    assert of_small(training__trainer=trainer.replace("p as f, q as g", "q as g, p as f")) == of_small()


@pytest.mark.parametrize(
    "setting", ["torch.backends.cudnn.benchmark = True", "OPTIONS['a'] = 1", "it, torch.flag = 1, 2", "LIMIT += 1"]
)
def test_what_a_module_sets_as_it_is_imported_moves_all_that_reach_it(setting: str) -> None:
    assert of_small(c=f"{SMALL_PACKAGE['c']}{setting}\n") != of_small()
    assert of_small(unused=f"def unused(): pass\n{setting}\n") == of_small()


@pytest.mark.parametrize("check", ["refuse(step(x))", "refuse_gaps('', step(x))", "assert step(x)"])
def test_what_runs_within_a_check_counts_and_its_words_do_not(check: str) -> None:
    module = f"{SMALL_PACKAGE['c'].replace('return x + 1', f'{check}; return x + 1')}"
    assert of_small(c=module.replace("x + 3", "x + 4")) != of_small(c=module)
    assert of_small(c=module.replace("step(x)", "'words', step(x)", 1)) == of_small(c=module)


def test_a_check_that_sets_a_value_counts() -> None:
    checked = SMALL_PACKAGE["c"].replace("return x + 1", "assert (x := 4); return x + 1")
    assert of_small(c=checked) != of_small(c=checked.replace("4", "5")) != of_small()


def test_all_that_a_training_uses_is_found_where_it_is_defined() -> None:
    """The ways to import of which the hash knows nothing are not used, so no use leads nowhere."""
    known = {*GRAPH}
    used = {(name, target) for name, it in GRAPH.items() for target in it.uses.values()}
    assert [it for it in used if it[1] not in known and it[1].partition(":")[0] not in code.APART] == []
    unknown = [
        f"{module}:{node.lineno}"
        for module, text in TEXTS.items()
        for node in ast.walk(ast.parse(text))
        if (isinstance(node, ast.ImportFrom) and (node.level or node.names[0].name == "*"))
        or (isinstance(node, ast.Import) and any(_is_dotted(it) for it in node.names))
    ]
    assert unknown == []


def _is_dotted(imported: ast.alias) -> bool:
    """Such as in ``import anytime_core.seeds``, after which the use is ``anytime_core.seeds.named_seed``."""
    return imported.name.startswith(f"{code.PACKAGE}.") and not imported.asname


def test_without_sources_there_is_no_hash(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(code, "graph", lambda: code.graph_of(tmp_path))
    assert code.training_code(TRIALS["strategy ann"]) is None


def test_a_copy_without_a_repository_has_the_same_code_with_a_cache_and_without(tmp_path: Path, monkeypatch) -> None:
    """As of a wheel, where the packages are folders."""
    shutil.copytree(FOLDER, tmp_path / "anytime_core", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for _ in range(2):
        graph = code.graph_of(tmp_path / "anytime_core")
        assert {name: code.hash_in(graph, code.chosen_by(config)) for name, config in TRIALS.items()} == HASHES
    (kept,) = (tmp_path / "cache").rglob("*.json")
    for damaged in ("[", "[]", '{"a": []}', '{"a": ["", 1, ""]}', "7"):
        kept.write_text(damaged)
        assert code.graph_of(tmp_path / "anytime_core") == graph
    (tmp_path / "anytime_core" / "seeds.py").write_text("")
    assert code.graph_of(tmp_path / "anytime_core") != graph


def test_what_is_said_of_special_definitions_names_some_that_exist() -> None:
    named = {
        code.ENTRY,
        *code.CHOICES,
        *code.SERVING,
        *code.BY_NAME,
        *(it for it in code.SERVING.values() if ":" in it),
    }
    assert named <= {*GRAPH}
    assert {*code.APART} <= {*TEXTS}


@pytest.mark.parametrize("name", [name for name in TRIALS if not name.startswith("data ")])
def test_a_training_runs_nothing_that_its_code_lacks(name: str) -> None:
    ran = _ran(TRIALS[name])
    assert ("training.trainer:train") in ran
    assert sorted(ran - code.reached(GRAPH, code.chosen_by(TRIALS[name]))) == []


def _ran(config: TrialConfig) -> set[str]:
    """The definitions of the package that a training runs, but for those of modules that stand apart."""
    found: set[str] = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        name, function = frame.f_code.co_filename, frame.f_code.co_qualname.partition(".")[0]
        if name.startswith(f"{FOLDER}/") and not function.startswith("<"):
            module = code._module(Path(name).relative_to(FOLDER).as_posix())
            if module not in code.APART:
                found.add(f"{module}:{function}")

    sys.setprofile(note)
    try:
        train(config, images=FEW if config.network is SMALL else None, threads=1)
    finally:
        sys.setprofile(None)
    return found
