"""Reads what is in `deploy/` as Docker would, as far as that is used there; anything else is an error, not a guess."""

import json
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"

Service = dict[str, Any]


@dataclass(frozen=True)
class Stage:
    """A stage of the Dockerfile: its image, and its instructions such as `("COPY", "sdk sdk")`."""

    image: str
    name: str
    instructions: tuple[tuple[str, str], ...]

    def all(self, keyword: str) -> list[str]:
        """The arguments of all instructions of a kind."""
        return [arguments for word, arguments in self.instructions if word == keyword]

    def one(self, keyword: str) -> str:
        """The arguments of an instruction that stands there once."""
        (arguments,) = self.all(keyword)
        return arguments

    @property
    def environment(self) -> dict[str, str]:
        """What ENV sets."""
        return dict(pair.split("=", 1) for line in self.all("ENV") for pair in shlex.split(line))


def dockerfile() -> tuple[Stage, ...]:
    """The stages of deploy/Dockerfile; the last one is the image."""
    text = re.sub(r"^\s*#.*\n", "", (DEPLOY / "Dockerfile").read_text("utf-8"), flags=re.MULTILINE)
    lines = [line.strip() for line in re.sub(r"\\\n\s*", "", text).splitlines()]
    instructions = [(word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in lines) if word]
    starts = [index for index, (word, _) in enumerate(instructions) if word == "FROM"]
    assert starts[0] == 0
    ends = [*starts[1:], len(instructions)]
    return tuple(_stage(*instructions[start:end]) for start, end in zip(starts, ends, strict=True))


def _stage(origin: tuple[str, str], *instructions: tuple[str, str]) -> Stage:
    image, _, name = origin[1].partition(" AS ")
    return Stage(image, name, instructions)


def exec_form(arguments: str) -> list[str]:
    """The program and its arguments; the shell form is refused, because a shell does not pass signals on."""
    command: list[str] = json.loads(arguments)
    return command


def copy_from_context(arguments: str, target: Path) -> None:
    """Do what COPY does: brings what .dockerignore lets through into a folder."""
    *sources, destination = (each for each in arguments.split() if not each.startswith("--chmod="))
    for source in sources:
        files = [path for path in _files(ROOT / source) if not is_ignored(path.relative_to(ROOT).as_posix())]
        assert files, f"{source} is not in the build context"
        for path in files:
            inside = path.relative_to(ROOT / source)
            name = source if destination.endswith("/") else destination
            # A single file is copied to the name; Path(".") of a file stands for itself.
            there = target / name / inside if path != ROOT / source else target / name
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, there)


def _files(path: Path) -> Iterator[Path]:
    return iter([path]) if path.is_file() else (each for each in path.rglob("*") if each.is_file())


def is_ignored(path: str) -> bool:
    """Whether .dockerignore keeps a file out of the build context: the last pattern that matches decides."""
    parts = path.split("/")
    above = ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]
    ignored = False
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        pattern = line.strip()
        if pattern and not pattern.startswith("#"):
            expression = _expression(pattern.removeprefix("!"))
            if any(expression.fullmatch(each) for each in above):
                ignored = not pattern.startswith("!")
    return ignored


def _expression(pattern: str) -> re.Pattern[str]:
    assert not re.search(r"[?\[\]\\]", pattern), f"{pattern} needs a better reader"
    return re.compile(re.escape(pattern).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*"))


def example_settings() -> dict[str, str]:
    """What deploy/.env.example says."""
    lines = (DEPLOY / ".env.example").read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def compose(settings: Mapping[str, str]) -> dict[str, Service]:
    """The services of deploy/compose.yaml with these settings in place of `${NAME:-default}`."""
    text = (DEPLOY / "compose.yaml").read_text("utf-8")
    filled = re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: settings.get(found[1], found[2]), text)
    assert "$" not in filled
    services: dict[str, Service] = yaml.safe_load(filled)["services"]
    return services


def secrets() -> dict[str, Path]:
    """The files of compose.yaml's secrets, below its folder, by the paths that containers have."""
    text = re.sub(r"\$\{(\w+):-([^}]*)\}", r"\2", (DEPLOY / "compose.yaml").read_text("utf-8"))
    return {f"/run/secrets/{name}": Path(one["file"]) for name, one in yaml.safe_load(text)["secrets"].items()}


def variables() -> dict[str, str]:
    """The settings that compose.yaml takes from outside, and their defaults."""
    return dict(re.findall(r"\$\{(\w+):-([^}]*)\}", (DEPLOY / "compose.yaml").read_text("utf-8")))


def is_ours(service: Service) -> bool:
    """Whether a service of compose runs our image."""
    return str(service["image"]).startswith("innosystem:")
