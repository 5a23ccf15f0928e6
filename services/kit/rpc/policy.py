"""Every method of the contract declares who may call it; a server with one that does not refuses to start."""

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from innosystem.options.v1 import options_pb2
from services.kit.settings import StartupError


def check_policies(service: ServiceDescriptor) -> None:
    """Checks the policies of a service's methods.

    Raises:
        StartupError: Naming the method that declares no callers, or not whether it may be repeated.
    """
    for method in service.methods:
        check_policy(method)


def check_policy(method: MethodDescriptor) -> None:
    """Checks that a method has a policy.

    Raises:
        StartupError: Naming the method that declares no callers, or not whether it may be repeated.
    """
    policy = method.GetOptions().Extensions[options_pb2.method]
    callers = [caller for caller in policy.callers if caller != options_pb2.CALLER_UNSPECIFIED]
    if not callers or policy.repeat == options_pb2.REPEAT_UNSPECIFIED:
        raise StartupError(
            f"{method.full_name} has no policy: give it the option (innosystem.options.v1.method), with callers and"
            " repeat, in the contract"
        )
