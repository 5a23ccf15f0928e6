"""The settings of outbound calls."""

import ssl
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, model_validator
from pydantic_settings import NoDecode

from innosystem.runner.outbound.addresses import parse_network
from innosystem.runner.outbound.allowed_hosts import AllowedHost, AllowedHosts
from innosystem.runner.outbound.built_in_handlers import BuiltInHandlers
from innosystem.runner.outbound.client import OutboundClient
from innosystem.runner.outbound.secrets import Secrets


def _split(value: Any) -> Any:
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


class OutboundSettings(BaseModel):
    """Which endpoints the runner calls for job types that name one.

    Attributes:
        runner_http_allowed_hosts: The hosts that may be called, separated by commas or spaces, each
            `[http://]host[:port]`: a host, `*.example.com` for all below a domain, or `*` for all; by HTTPS unless it
            says `http://`. None by default: then the runner takes no jobs that call endpoints.
        runner_http_private_networks: Networks such as `10.1.0.0/16`, whose addresses may be called although they are
            not public.
        runner_http_ca_file: CA certificates in PEM that may sign certificates of endpoints, besides the usual ones.
        runner_secrets_dir: A folder with a file for each secret that job types refer to by the file's name.
    """

    runner_http_allowed_hosts: Words = ()
    runner_http_private_networks: Words = ()
    runner_http_ca_file: str = ""
    runner_secrets_dir: str = ""

    @model_validator(mode="after")
    def _can_be_used(self) -> Self:
        for host in self.runner_http_allowed_hosts:
            _named("RUNNER_HTTP_ALLOWED_HOSTS", AllowedHost.parse, host)
        for network in self.runner_http_private_networks:
            _named("RUNNER_HTTP_PRIVATE_NETWORKS", parse_network, network)
        if self.runner_secrets_dir and not Path(self.runner_secrets_dir).is_dir():
            raise ValueError(f"RUNNER_SECRETS_DIR: {self.runner_secrets_dir} is no folder")
        if self.runner_http_ca_file:
            try:
                ssl.create_default_context(cafile=self.runner_http_ca_file)
            except OSError as exc:
                raise ValueError(f"RUNNER_HTTP_CA_FILE: {self.runner_http_ca_file} can't be used: {exc}") from None
        return self

    def built_in_handlers(self) -> BuiltInHandlers | None:
        """Open what calls the endpoints of job types; None if no host may be called."""
        if not self.runner_http_allowed_hosts:
            return None
        return BuiltInHandlers(self.outbound_client(), Secrets(self.runner_secrets_dir))

    def outbound_client(self) -> OutboundClient:
        """Open a client for the endpoints that may be called."""
        return OutboundClient(
            AllowedHosts(map(AllowedHost.parse, self.runner_http_allowed_hosts)),
            networks=[parse_network(one) for one in self.runner_http_private_networks],
            ca_file=self.runner_http_ca_file,
        )


def _named(setting: str, parse: Any, text: str) -> None:
    try:
        parse(text)
    except ValueError as exc:
        raise ValueError(f"{setting}: {exc}") from None
