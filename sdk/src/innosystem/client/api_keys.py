"""Obtain an API key, which is shown only once, even if the response with the key is lost."""

from typing import TYPE_CHECKING, Any, Final

from innosystem.client.identity import new_id

if TYPE_CHECKING:
    from innosystem.customers.v1.customer_service_pb2 import (
        CreateApiKeyRequest,
        CreateApiKeyResponse,
        CreateCustomerRequest,
        CreateCustomerResponse,
        RotateApiKeyRequest,
        RotateApiKeyResponse,
    )
    from innosystem.customers.v1.customer_service_pb2_grpc import CustomerServiceAsyncStub

_ATTEMPTS: Final = 3


async def create_customer(
    customers: "CustomerServiceAsyncStub", request: "CreateCustomerRequest"
) -> "CreateCustomerResponse":
    """Create a customer, and replace the API key if the response with the first one was lost.

    The channel repeats a call whose response was lost, and the response to the repeated call contains
    no key. If the caller left `customer_id` empty, the customer is new, so the lost key is unused and
    safe to replace.

    Args:
        customers: The stub.
        request: The customer to create. A request with a `customer_id` is sent unchanged: an earlier
            call may have created the customer, and the key may be in use.

    Returns:
        The response. Its `api_key` is empty if the customer existed before.
    """
    from innosystem.customers.v1.customer_service_pb2 import RotateApiKeyRequest

    is_new = not request.customer_id
    response = await customers.CreateCustomer(request)
    if is_new and response.replayed:
        rotated = await rotate_api_key(customers, RotateApiKeyRequest(customer_id=response.customer.id))
        response.api_key = rotated.api_key
        response.customer.CopyFrom(rotated.customer)
    return response


async def create_api_key(
    customers: "CustomerServiceAsyncStub", request: "CreateApiKeyRequest"
) -> "CreateApiKeyResponse":
    """Create a further API key, and another in its place if the response with the key was lost.

    The lost key is revoked.

    Args:
        customers: The stub.
        request: The key to create. A request with an `api_key_id` is sent unchanged.

    Returns:
        The response. Its `api_key` is empty if the request's `api_key_id` was used before, or if the
        response was lost repeatedly.
    """
    response: CreateApiKeyResponse = await _until_shown(customers, customers.CreateApiKey, request)
    return response


async def rotate_api_key(
    customers: "CustomerServiceAsyncStub", request: "RotateApiKeyRequest"
) -> "RotateApiKeyResponse":
    """Rotate an API key, repeating the rotation if the response with the new key was lost.

    The lost key is revoked. The previous key keeps the overlap of the first rotation.

    Args:
        customers: The stub.
        request: The customer and the overlap. A request with an `api_key_id` is sent unchanged.

    Returns:
        The response. Its `api_key` is empty if the request's `api_key_id` was used before, or if the
        response was lost repeatedly.
    """
    response: RotateApiKeyResponse = await _until_shown(customers, customers.RotateApiKey, request)
    return response


async def _until_shown(customers: "CustomerServiceAsyncStub", method: Any, request: Any) -> Any:
    """Call a method that creates a key, again under another ID if the response with the key was lost."""
    from innosystem.customers.v1.customer_service_pb2 import RevokeApiKeyRequest

    is_new = not request.api_key_id
    response = await method(request)
    attempts = 1
    while is_new and response.replayed and attempts < _ATTEMPTS:
        lost = RevokeApiKeyRequest(customer_id=request.customer_id, api_key_id=response.key.id)
        request.api_key_id = str(new_id())
        response = await method(request)
        await customers.RevokeApiKey(lost)
        attempts += 1
    return response
