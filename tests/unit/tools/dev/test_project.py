"""A new project of handlers is complete, names nothing that does not exist, and harms no folder."""

import ast
from pathlib import Path

import pytest
import yaml

from innosystem.shared.settings_names import SETTINGS
from tests.support.documents import ROOT
from tools.cli.__main__ import main
from tools.dev.project import write_project
from tools.errors import CommandError, UsageError


def test_the_name_of_a_project_is_that_of_its_module_queue_and_deployment(tmp_path: Path) -> None:
    module = write_project(tmp_path / "image-tools")

    assert module == tmp_path / "image-tools" / "image_tools.py"
    texts = [file.read_text() for file in module.parent.iterdir()]
    assert not [text for text in texts if "my-handlers" in text or "my_handlers" in text]
    assert '@handler("image-tools.greet")' in module.read_text()
    assert '"--handlers", "image_tools", "--queue", "image-tools"' in (module.parent / "Dockerfile").read_text()


def test_a_folder_that_exists_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mine.py").write_text("x = 1\n")

    with pytest.raises(CommandError, match="exists already"):
        write_project(tmp_path / "mine")

    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["mine.py"]
    assert (tmp_path / "mine" / "mine.py").read_text() == "x = 1\n"


@pytest.mark.parametrize(
    "name", ["", "Mine", "my_handlers", "1st", "-a", "a-", "a" * 51, "json", "grpc", "class", "tools"]
)
def test_a_name_that_no_module_or_queue_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="no name for a project"):
        write_project(Path(f"{tmp_path}/{name}") if name else Path())

    assert list(tmp_path.iterdir()) == []


def test_the_command_ends_with_2_for_a_wrong_name_and_1_for_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    # As it is where handlers have been loaded: then a folder in the working directory can be imported.
    monkeypatch.syspath_prepend(str(tmp_path))

    assert [main(["new", name]) for name in ("My", "mine", "mine", "no/mine")] == [2, 0, 1, 1]
    assert "cd mine" in capsys.readouterr().out


def test_the_manifest_runs_the_image_as_the_platform_deploys_its_own_runner(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "image-tools").parent
    pod = yaml.safe_load((folder / "deployment.yaml").read_text())["spec"]["template"]["spec"]
    [runner] = pod["containers"]
    deployed = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]["runner"]

    settings = {one["name"] for one in runner["env"]}
    assert settings <= SETTINGS
    # All settings of the runner beside the platform, but those of its size and its connections.
    assert {name for name in deployed["environment"] if "CONCURRENCY" not in name} & SETTINGS - settings <= {
        "INNOSYSTEM_PLAINTEXT",
        "LOG_LEVEL",
        "RUNNER_PROCESSES",
    }
    page = (ROOT / "deploy/README.md").read_text()
    probe = runner["livenessProbe"]["exec"]["command"]
    assert f"exec: {{command: [{', '.join(probe)}]}}" in page
    assert f"terminationGracePeriodSeconds: {pod['terminationGracePeriodSeconds']}" in page
    assert f"{pod['terminationGracePeriodSeconds']}s" == deployed["stop_grace_period"]


def test_the_test_of_a_project_covers_each_of_its_handlers(tmp_path: Path) -> None:
    module = write_project(tmp_path / "image-tools")
    handlers = [one.name for one in ast.parse(module.read_text()).body if isinstance(one, ast.FunctionDef)]
    test = (module.parent / "test_image_tools.py").read_text()

    assert handlers
    assert all(f"image_tools.{name}" in test for name in handlers)
