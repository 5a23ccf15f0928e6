"""Come away with an API key although it is shown once, and its answer may be lost."""

from typing import TYPE_CHECKING, Final

from innosystem.client.identity import new_id

if TYPE_CHECKING:
    from innosystem.customers.v1.customer_service_pb2 import (
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
    """Create a customer, and make it another API key if the answer with the first was lost.

    A call whose answer was lost is repeated by the channel, and the answer to the repeated one has
    no key. Where the caller left `customer_id` empty it is a new customer, so nobody has the key
    and nothing is lost by replacing it.

    Args:
        customers: The stub.
        request: What to create. With a `customer_id` it is sent as it is: an earlier call may
            have created the customer, whose key somebody uses.

    Returns:
        The answer. It has no `api_key` if the customer was there before.
    """
    from innosystem.customers.v1.customer_service_pb2 import RotateApiKeyRequest

    is_new = not request.customer_id
    response = await customers.CreateCustomer(request)
    if is_new and response.replayed:
        rotated = await rotate_api_key(customers, RotateApiKeyRequest(customer_id=response.customer.id))
        response.api_key = rotated.api_key
        response.customer.CopyFrom(rotated.customer)
    return response


async def rotate_api_key(
    customers: "CustomerServiceAsyncStub", request: "RotateApiKeyRequest"
) -> "RotateApiKeyResponse":
    """Rotate an API key, and again if the answer with the new one was lost.

    The key that was lost is revoked. The one before it keeps the overlap of the first rotation.

    Args:
        customers: The stub.
        request: Whose key, and the overlap. With an `api_key_id` it is sent as it is.

    Returns:
        The answer. It has no `api_key` if there was an `api_key_id` that had been used before, or
        if one answer after the other was lost.
    """
    from innosystem.customers.v1.customer_service_pb2 import RevokeApiKeyRequest

    is_new = not request.api_key_id
    response = await customers.RotateApiKey(request)
    attempts = 1
    while is_new and response.replayed and attempts < _ATTEMPTS:
        lost = RevokeApiKeyRequest(customer_id=request.customer_id, api_key_id=response.key.id)
        request.api_key_id = str(new_id())
        response = await customers.RotateApiKey(request)
        await customers.RevokeApiKey(lost)
        attempts += 1
    return response
