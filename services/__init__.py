"""The services of the platform, and the kit that they are built from."""

from typing import Final, Literal, TypeAlias, get_args

Service: TypeAlias = Literal["customers", "wallets", "jobs"]

SERVICES: Final[tuple[str, ...]] = get_args(Service)
"""All services, in the order in which they are set up: each calls only those before it."""
