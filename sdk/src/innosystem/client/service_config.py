"""The service config of a channel: which calls gRPC retries, and how it balances them."""

import json
from functools import cache

from innosystem.client.contract import safe_to_repeat

# Five is the maximum of gRPC. The attempts last for about 1.5 seconds: enough to find a server that
# restarts elsewhere, and short enough to report soon that a server is gone.
_RETRY_POLICY = {
    "maxAttempts": 5,
    # Below 10 ms gRPC can hang.
    "initialBackoff": "0.1s",
    "maxBackoff": "1s",
    "backoffMultiplier": 2,
    # Only these mean that no server has handled the call. gRPC ends calls with CANCELLED that had reached a server, but
    # no method yet, when it shut down. Calls that the caller cancels are not retried.
    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
}

# Retries pause while more than about one call in ten fails, so that they do not overload a server.
_RETRY_THROTTLING = {"maxTokens": 100, "tokenRatio": 0.1}


@cache
def service_config() -> str:
    """Return the service config as JSON.

    Only methods that the contract declares safe to repeat, given the IDs that this client generates, have a retry
    policy. The config sets no timeout, which gRPC's core handles incorrectly: each call has a deadline instead (see
    `channel`).
    """
    return json.dumps(
        {
            "loadBalancingConfig": [{"round_robin": {}}],
            "methodConfig": [
                {
                    "name": [
                        {"service": method.containing_service.full_name, "method": method.name}
                        for method in safe_to_repeat()
                    ],
                    "retryPolicy": _RETRY_POLICY,
                }
            ],
            "retryThrottling": _RETRY_THROTTLING,
        }
    )
