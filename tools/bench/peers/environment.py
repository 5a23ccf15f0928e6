"""The peers' virtual environment, created when it is first needed and after its requirements have changed."""

import asyncio
import shutil
import sys
from hashlib import sha256
from pathlib import Path

from tools.errors import CommandError

_HERE = Path(__file__).parent
_REQUIREMENTS = _HERE / "requirements.txt"
_MARK = "requirements.sha256"
_TAIL_LINES = 15


async def python_of(folder: Path) -> Path:
    """Return the interpreter of the environment in a folder, which is created if it is missing or outdated.

    Raises:
        CommandError: The environment can't be created; the message shows the end of the output.
    """
    python = folder / "bin/python"
    if _is_ready(folder):
        return python
    _clear(folder)
    await _run(sys.executable, "-m", "venv", str(folder))
    pip = (str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes")
    await _run(*pip, "-r", str(_REQUIREMENTS))
    (folder / _MARK).write_text(_wanted())
    return python


def versions() -> dict[str, str]:
    """Return the installed versions by package."""
    lines = _REQUIREMENTS.read_text("utf-8").splitlines()
    pinned = [line.split()[0].partition("==") for line in lines if "==" in line]
    return {name: version for name, _, version in pinned}


def _wanted() -> str:
    return sha256(_REQUIREMENTS.read_bytes()).hexdigest()


def _is_ready(folder: Path) -> bool:
    mark = folder / _MARK
    return mark.exists() and mark.read_text() == _wanted() and (folder / "bin/python").exists()


def _clear(folder: Path) -> None:
    if not folder.exists():
        return
    if not (folder / "pyvenv.cfg").exists():
        raise CommandError(f"{folder} is not a virtual environment: name another folder")
    shutil.rmtree(folder)


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        lines = output.decode(errors="replace").splitlines()[-_TAIL_LINES:]
        raise CommandError("the peers' environment can't be created:\n" + "\n".join(f"  {line}" for line in lines))
