"""What extensions register is known while they are active, and no longer; what cannot be imported is one message."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from trials import digits_trial

from anytime_core.config import KINDS, Absent, Joint, from_dict, parts_of, to_dict
from anytime_core.extend import Progress
from orchestrator.errors import UsageError
from orchestrator.extensions import importing, use
from orchestrator.extensions.importing import activate, located

ANSWER = "from orchestrator.extensions.received import answer; answer()"


def refused(*extensions) -> str:
    with pytest.raises(UsageError) as error:
        activate(extensions)
    return str(error.value)


def test_only_what_is_active_is_known(found, ramp) -> None:
    first, second = found(ramp=ramp), found(other=ramp.replace("ramp", "slope"))
    assert activate([first])
    assert set(KINDS["weights"]) == {"ramp"}
    assert not activate([first])
    assert activate([second])
    assert set(KINDS["weights"]) == {"slope"}
    activate([first, second])
    assert set(KINDS["weights"]) == {"ramp", "slope"}
    activate([])
    assert not any(KINDS.values())


def test_a_change_is_imported_and_a_comment_is_not(found, ramp) -> None:
    activate([found(ramp=ramp)])
    before = KINDS["weights"]["ramp"]
    activate([found(ramp=f"# why\n{ramp}")])
    assert KINDS["weights"]["ramp"] is before
    activate([found(ramp=ramp.replace("0.01", "0.02"))])
    assert KINDS["weights"]["ramp"] is not before
    assert KINDS["weights"]["ramp"].source != before.source


def test_a_change_of_a_helper_is_imported(found, ramp) -> None:
    using = ramp.replace("0.01", "BASE").replace("from data", "from helper import BASE\nfrom data")
    activate([found(ramp=using, helper="BASE = 0.25")])
    activate([found(ramp=using, helper="BASE = 0.5")])
    assert KINDS["weights"]["ramp"].weights.__globals__["BASE"] == 0.5


def test_helpers_of_one_name_in_two_folders_are_two(found, ramp, tmp_path) -> None:
    """Also where a function imports its helper only when it is called, and another sweep was read in between."""
    late = ramp.replace("        return", "        from helper import BASE\n        return").replace("0.01", "BASE")
    (tmp_path / "there").mkdir()
    here = found(ramp=late, helper="BASE = 1")
    (tmp_path / "there" / "helper.py").write_text("BASE = 2")
    (tmp_path / "there" / "slope.py").write_text(late.replace("ramp", "slope"))
    there = found("there/slope.py", ramp=late)
    for extension, base in [(here, 1), (there, 2), (here, 1), (there, 2)]:
        activate([extension])
        (part,) = KINDS["weights"].values()
        assert part().weights([1.0], began()) == [base]
    assert "ramp.py and there/slope.py import different modules named helper" in refused(here, there)


def began() -> Progress:
    return Progress(epoch=1, fraction=0.0)


def test_two_of_one_name_are_known_by_their_files_too(found, ramp) -> None:
    first, second = found(ramp=ramp), found(other=ramp.replace("0.01", "0.5"))
    activate([first, second])
    assert set(KINDS["weights"]) == {"ramp.ramp", "other.ramp"}


def test_two_files_of_one_name_are_refused(found, ramp, tmp_path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "ramp.py").write_text(ramp)
    said = refused(found(ramp=ramp), found("there/ramp.py", ramp=ramp))
    assert said == "ramp.py and there/ramp.py have one name; call one of them otherwise"


BROKEN = {
    "x = 1\nx.nothing": "line 2: AttributeError: 'int' object has no attribute 'nothing'",
    "import no_such_library": "line 1: ModuleNotFoundError: No module named 'no_such_library'",
    "import sys\nsys.exit()": "line 2: SystemExit: ",
    "import sys\nsys.exit(0)": "line 2: SystemExit: 0",
    "import helper": "helper.py, line 1: ZeroDivisionError",
    "from anytime_core.extend import register\nregister('a')(int)": "line 2: ExtensionError: int must be a class below",
}


@pytest.mark.parametrize("text", BROKEN)
def test_an_error_at_import_is_one_message_with_its_line(text, found) -> None:
    extension = found(broken=text, helper="1 / 0")
    said = refused(extension)
    assert said.startswith("broken.py: ")
    assert BROKEN[text] in said
    assert "\n" not in said
    assert refused(extension) == said  # and is so again


def test_after_an_error_the_same_extensions_are_known_as_before(found, ramp) -> None:
    activate([found(ramp=ramp)])
    refused(found(broken="1 / 0"))
    assert set(KINDS["weights"]) == {"ramp"}


def test_an_installed_extension_that_differs_or_is_gone_is_refused(tmp_path, monkeypatch, found, ramp) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "lab_of_tests.py").write_text(ramp)
    with monkeypatch.context() as installed:
        installed.syspath_prepend(str(site))
        extension = found("lab_of_tests", other="")
        (site / "lab_of_tests.py").write_text(ramp.replace("0.01", "0.5"))
        said = refused(extension)
        assert said.startswith("extension lab_of_tests differs between ")
        assert said.endswith("every node needs the same")
    sys.modules.pop("lab_of_tests", None)
    assert refused(extension) == "extension lab_of_tests is not installed here; every node needs it"


def test_a_part_whose_extension_is_gone_can_be_read_and_kept(found, ramp) -> None:
    activate([found(ramp=ramp)])
    config = digits_trial(Joint(weights=KINDS["weights"]["ramp"](power=2.0)))
    kept = json.loads(json.dumps(to_dict(config)))
    assert from_dict(kept) == config
    for active in ([], [found(ramp=ramp.replace("0.01", "0.02"))]):
        activate(active)
        read = from_dict(kept)
        (part,) = parts_of(read)
        assert isinstance(part, Absent)
        assert (part.kind, part.name) == ("weights", "ramp")
        assert to_dict(read) == kept
    activate([found(ramp=ramp)])
    (part,) = parts_of(from_dict(kept))
    assert part == KINDS["weights"]["ramp"](power=2.0)


def test_a_part_travels_to_a_process_that_never_saw_the_file(found, ramp, tmp_path) -> None:
    extension = found(ramp=f"import helper\n{ramp}", helper="")
    activate([extension])
    config = digits_trial(Joint(weights=KINDS["weights"]["ramp"](power=2)))
    sent = pickle.dumps(([extension], pickle.dumps(config)))
    for path in tmp_path.glob("*.py"):
        path.unlink()
    there = subprocess.run([sys.executable, "-c", ANSWER], input=sent, capture_output=True, cwd=tmp_path, check=True)
    assert json.loads(there.stdout) == to_dict(config)


def test_an_error_is_located_in_the_last_line_of_the_extension(found, ramp) -> None:
    activate([found(ramp=ramp)])
    part = KINDS["weights"]["ramp"]()
    with pytest.raises(TypeError) as error:
        part.weights(["a"], began())
    assert located(error.value).endswith("ramp.py, line 13: ")
    assert located(ValueError("elsewhere")) == ""
    wrapped = ValueError("said again")
    wrapped.__cause__ = error.value
    assert located(wrapped) == located(error.value)


def test_use_makes_files_known_to_a_program(found, ramp, tmp_path, monkeypatch) -> None:
    found(ramp=ramp)
    monkeypatch.chdir(tmp_path)
    use("ramp.py")
    assert set(KINDS["weights"]) == {"ramp"}
    with pytest.raises(UsageError, match=r"^missing\.py: cannot be read"):
        use("ramp.py", "missing.py")


def test_a_traceback_shows_lines_of_a_file_that_is_not_there(found) -> None:
    extension = found(broken="x = 1\nx.nothing")
    Path(extension.modules[extension.module].file).unlink()
    assert "line 2: AttributeError" in refused(extension)
    assert importing._importer.get_source(extension.module) == "x = 1\nx.nothing"
