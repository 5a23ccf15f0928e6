"""The errors of the customers service."""

from dataclasses import dataclass
from uuid import UUID

from services.kit.auth.principal import API_KEY
from services.kit.errors import BadCredentials, DomainError, FieldError


@dataclass(eq=False)
class CustomerNotFound(DomainError):
    """No customer has the ID {customer_id}: check the ID, or have an operator look for the right one."""

    reason = "CUSTOMER_NOT_FOUND"
    customer_id: UUID


@dataclass(eq=False)
class ApiKeyNotFound(DomainError):
    """The customer {customer_id} has no API key with the ID {api_key_id}: look for the right one with ListApiKeys."""

    reason = "API_KEY_NOT_FOUND"
    customer_id: UUID
    api_key_id: UUID


@dataclass(eq=False)
class EmailTaken(FieldError):
    """Another customer has the email address {email}; inactive customers keep their addresses."""

    reason = "EMAIL_TAKEN"
    field = "email"
    email: str


@dataclass(eq=False)
class BadApiKey(BadCredentials):
    """The API key is unknown or no longer valid: check it, or replace it by a new one.

    Attributes:
        credential: Tells callers that it is the key of the request which is wrong, not their own credentials.
    """

    credential: str = API_KEY
