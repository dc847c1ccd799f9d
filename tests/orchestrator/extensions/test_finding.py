"""Extensions are found with all of their modules, and nothing of them runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from orchestrator.errors import UsageError
from orchestrator.extensions import finding
from orchestrator.extensions.finding import LARGEST, find

HARM = "raise SystemExit('this must not run')\n"


def refused(given: str, folder: Path) -> str:
    with pytest.raises(UsageError) as error:
        find(given, folder)
    return str(error.value)


def test_a_file_comes_with_the_helpers_that_it_imports(found, tmp_path) -> None:
    extension = found(ramp=f"{HARM}import helper\nimport math, numpy", helper="import further", further="", other="")
    assert extension.module == "anytime_extensions.ramp"
    assert set(extension.modules) == {"anytime_extensions.ramp", "helper", "further"}
    assert extension.shipped
    assert extension.imports == ("numpy",)
    assert extension.versions.keys() == {"numpy"}


def test_a_change_of_any_helper_is_a_change(found) -> None:
    files = {"ramp": "import helper", "helper": "import further", "further": "x = 1"}
    before = found(**files).source
    assert found(**files, other="x = 1").source == before
    assert found(**files | {"further": "x = 1  # so"}).source == before
    assert found(**files | {"further": "x = 2"}).source != before


def test_a_file_has_one_source_whatever_it_is_called_and_wherever_it_lies(found, tmp_path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "other.py").write_text("x = 1")
    assert found(ramp="x = 1").source == find("below/other.py", tmp_path).source
    assert find(str(tmp_path / "ramp.py"), Path("/")).source == find("./ramp.py", tmp_path).source


def test_a_module_beside_the_sweep_is_a_package_with_relative_imports(found) -> None:
    extension = found(
        "lab.anytime",
        lab__in____init__="",
        lab__in__anytime="from .parts import x\nfrom . import more",
        lab__in__parts="x = 1",
        lab__in__more="",
        lab__in__unused="",
    )
    assert extension.module == "lab.anytime"
    assert set(extension.modules) == {"lab", "lab.anytime", "lab.parts", "lab.more"}
    assert extension.modules["lab"].package
    assert extension.shipped


def test_an_installed_package_is_not_shipped(tmp_path, monkeypatch) -> None:
    package = tmp_path / "site" / "installed_lab"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from .parts import x")
    (package / "parts.py").write_text("x = 1")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    extension = find("installed_lab", tmp_path)
    assert not extension.shipped
    assert set(extension.modules) == {"installed_lab", "installed_lab.parts"}
    (package / "parts.py").write_text("x = 2")
    assert find("installed_lab", tmp_path).source != extension.source
    assert finding.installed_fault(extension).startswith("differs between ")


@pytest.mark.parametrize("name", ["math", "numpy", "torch", "anytime_core"])
def test_no_file_stands_for_a_library(name, found) -> None:
    """One of that name beside it is not what is imported, and so no part of it."""
    extension = found(ramp=f"import {name}", **{name: HARM})
    assert set(extension.modules) == {"anytime_extensions.ramp"}


def test_a_file_may_be_called_as_a_library_is(found) -> None:
    assert found(numpy="import math").module == "anytime_extensions.numpy"


FAULTS = {
    "missing.py": "missing.py: cannot be read: No such file",
    "folder.py": "folder.py: cannot be read: Is a directory",
    "broken.py": "broken.py, line 2: ",
    "latin.py": "latin.py: cannot be read: it is not UTF-8 text",
    "large.py": f"large.py: is larger than {LARGEST} bytes",
    "importing.py": "broken.py, line 2: ",
    "nul.py": "nul.py",
    "my-method.py": "my-method.py: must be called as a module can be",
    "no_such_module_at_all": "no_such_module_at_all: there is no such module, neither installed nor in ",
    "my lab": "my lab: must be a file such as ./my_method.py, a module",
    "lab.missing": "lab.missing: there is no such module",
}


@pytest.mark.parametrize("given", FAULTS)
def test_what_cannot_be_found_is_one_message(given, found, tmp_path) -> None:
    found(
        "good.py",
        good="",
        broken="x = 1\nx = = 2",
        importing="import broken",
        large="#" * (LARGEST + 1),
        lab__in____init__="",
    )
    (tmp_path / "latin.py").write_bytes("# é".encode("latin-1"))
    (tmp_path / "nul.py").write_bytes(b"x = 1\0")
    (tmp_path / "folder.py").mkdir()
    said = refused(given, tmp_path)
    assert FAULTS[given] in said
    assert "\n" not in said


def test_a_link_is_what_it_points_to(found, tmp_path) -> None:
    extension = found(ramp="x = 1")
    (tmp_path / "link.py").symlink_to("ramp.py")
    (tmp_path / "loop.py").symlink_to("loop.py")
    assert find("link.py", tmp_path).source == extension.source
    assert "loop.py: cannot be read: Too many levels" in refused("loop.py", tmp_path)


def announce(folder: Path, package: str, **modules: str) -> None:
    """What pip leaves of an installed package that announces modules by these names."""
    info = folder / f"{package}-1.5.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.5\n")
    lines = [f"{name.replace('_', '-')} = {module}" for name, module in modules.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{finding.GROUP}]", *lines]))


def test_a_module_is_found_by_the_name_that_its_package_announces(tmp_path, monkeypatch) -> None:
    site = tmp_path / "site"
    announce(site, "lab", my_ramp="announced_lab.anytime", gone="announced_lab.gone")
    (site / "announced_lab").mkdir()
    (site / "announced_lab" / "__init__.py").write_text("")
    (site / "announced_lab" / "anytime.py").write_text("x = 1")
    monkeypatch.syspath_prepend(str(site))
    extension = find("my-ramp", tmp_path)
    assert (extension.given, extension.module, extension.shipped) == ("my-ramp", "announced_lab.anytime", False)
    assert extension.source == find("announced_lab.anytime", tmp_path).source
    assert "gone: lab announces the module announced_lab.gone, which is not there" in refused("gone", tmp_path)
    shown = [(one.name, one.module, one.package, one.version) for one in finding.announced()]
    assert ("my-ramp", "announced_lab.anytime", "lab", "1.5") in shown
    announce(site, "rival", my_ramp="rival.anytime")
    assert "my-ramp: is announced by lab (announced_lab.anytime) and rival" in refused("my-ramp", tmp_path)


def test_finding_imports_nothing(found) -> None:
    before = set(sys.modules)
    found(ramp=f"{HARM}import helper", helper=HARM)
    assert {name for name in set(sys.modules) - before if "ramp" in name or "helper" in name} == set()
