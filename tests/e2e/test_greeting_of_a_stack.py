"""What `innosystem up` tells people to type works as it is printed, however the stack is protected."""

import re
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import trustme

from tests.e2e.commands import FREE_PORTS, command, ended
from tests.support.certificates import HOSTS, Certificates

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def certificates(folder: Path, *names: str) -> Mapping[str, str]:
    ca = trustme.CA(key_type=trustme.KeyType.ECDSA)
    files = Certificates(folder / "tls", ca, ca, names=names)
    return {**files.server(), **files.client()}


def relative(folder: Path) -> Mapping[str, str]:
    settings = certificates(folder, *HOSTS)
    return {name: str(Path(value).relative_to(folder)) for name, value in settings.items()}


PROTECTIONS: Mapping[str, Callable[[Path], Mapping[str, str]]] = {
    "by tokens": lambda _: {},
    "by nothing": lambda _: {"INNOSYSTEM_AUTH": "off"},
    "by TLS and tokens": relative,
    "by TLS with another name": lambda folder: {
        **certificates(folder, "platform.example"),
        "INNOSYSTEM_TLS_SERVER_NAME": "platform.example",
    },
}


@pytest.mark.parametrize("protection", PROTECTIONS)
def test_the_line_with_grpcurl_works_as_it_is_printed(protection: str, folder: Path, tmp_path: Path) -> None:
    stack = command("up", "--folder", folder, *FREE_PORTS, cwd=tmp_path, **PROTECTIONS[protection](tmp_path))
    assert stack.stdout is not None
    lines: list[str] = []
    for line in stack.stdout:
        lines.append(line.rstrip())
        if line.startswith("Ctrl-C"):
            break
    assert lines, stack.communicate(timeout=60)
    [settings] = [line.removeprefix("For programs: ") for line in lines if line.startswith("For programs: ")]
    [grpcurl] = [line for line in lines if re.match(r"  \S*grpcurl ", line)]

    elsewhere = folder.parent
    typed = ["sh", "-c", f"{settings}; {grpcurl}"]
    done = subprocess.run(typed, capture_output=True, text=True, check=False, timeout=60, cwd=elsewhere)

    assert "innosystem.jobs.v1.JobService" in done.stdout.splitlines(), done.stderr + grpcurl
    stack.send_signal(signal.SIGINT)
    assert ended(stack) == 0
