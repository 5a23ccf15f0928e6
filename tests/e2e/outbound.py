"""Runners that may call the HTTP server of a test."""

from collections.abc import Mapping

from tests.e2e.processes import Process
from tests.e2e.stack import Stack
from tests.support.http_endpoint import RunningEndpoint


def start_outbound_runner(
    stack: Stack, endpoint: RunningEndpoint, secrets: Mapping[str, str], **settings: str
) -> Process:
    """Start a runner that may call the endpoint, and has no handlers of its own.

    Args:
        stack: The stack.
        endpoint: The only server that it may call.
        secrets: The secrets of the runner by name.
        settings: Further settings.
    """
    folder = stack.folder / "secrets"
    folder.mkdir(exist_ok=True)
    for name, secret in secrets.items():
        (folder / name).write_text(f"{secret}\n")
    allowed = {
        "RUNNER_HTTP_ALLOWED_HOSTS": f"http://127.0.0.1:{endpoint.port}",
        "RUNNER_HTTP_PRIVATE_NETWORKS": "127.0.0.1",
        "RUNNER_SECRETS_DIR": str(folder),
    }
    return stack.start_runner(None, **(allowed | settings))
