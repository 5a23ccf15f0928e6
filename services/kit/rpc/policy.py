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
        StartupError: If it does not declare its callers, or whether it may be repeated; names the method.
    """
    policy = method.GetOptions().Extensions[options_pb2.method]
    callers = [caller for caller in policy.callers if caller != options_pb2.CALLER_UNSPECIFIED]
    if not callers or policy.repeat == options_pb2.REPEAT_UNSPECIFIED:
        raise StartupError(
            f"{method.full_name} has no policy: give it the option (innosystem.options.v1.method), with callers and"
            " repeat, in the contract"
        )
