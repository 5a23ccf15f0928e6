"""`innosystem new`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from tools.dev.project import write_project


def new(folder: Annotated[Path, Parameter(name="NAME")], /) -> None:
    """Write a project of handlers: a module, its test, a Dockerfile, and a manifest for Kubernetes.

    Args:
        folder: The name of the project, such as my-handlers, or the path of its new folder.
    """
    module = write_project(folder)
    print(f"Wrote {folder}: README.md there has the commands. To begin:\n")
    print(f"  cd {folder}\n  python -m pytest\n  innosystem dev {module.name}")
