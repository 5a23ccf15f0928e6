"""Policies: each method of the contract declares its callers; a server with a method that does not refuses to start."""

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from innosystem.options.v1 import options_pb2
from services.kit.settings import StartupError


def check_policies(service: ServiceDescriptor) -> None:
    """Check the policies of a service's methods.

    Raises:
        StartupError: If a method does not declare its callers, or whether it may be repeated; names the method.
    """
    for method in service.methods:
        check_policy(method)


def check_policy(method: MethodDescriptor) -> None:
    """Check that a method has a policy.

    Raises:
        StartupError: If it does not declare its callers, or whether it may be repeated, or if its callers prove
            themselves neither by credentials nor by a field of the request; names the method.
    """
    policy = method.GetOptions().Extensions[options_pb2.method]
    callers = [caller for caller in policy.callers if caller != options_pb2.CALLER_UNSPECIFIED]
    if not callers or policy.repeat == options_pb2.REPEAT_UNSPECIFIED:
        raise StartupError(
            f"{method.full_name} has no policy: give it the option (innosystem.options.v1.method), with callers and"
            " repeat, in the contract"
        )
    field = method.input_type.fields_by_name.get(policy.credential)
    is_proven = callers == [options_pb2.CALLER_CALLBACK] and field is not None and field.type == field.TYPE_STRING
    is_free = policy.binding == options_pb2.BINDING_UNSPECIFIED and policy.scope == options_pb2.SCOPE_UNSPECIFIED
    if (policy.credential or options_pb2.CALLER_CALLBACK in callers) and not (is_proven and is_free):
        raise StartupError(
            f"{method.full_name} is for CALLER_CALLBACK or has a credential: it needs both, no other callers, no"
            " binding and no scope, and the credential has to be a text of its request"
        )
