"""The service config of a channel: which calls gRPC repeats, and how it spreads them."""

import json
from functools import cache

from innosystem.client.contract import safe_to_repeat

# Five is the most that gRPC allows. They last for about 1.5 seconds: a server that restarts
# elsewhere is found again, a server that is gone is reported soon.
_RETRY_POLICY = {
    "maxAttempts": 5,
    # Below 10 ms gRPC can hang.
    "initialBackoff": "0.1s",
    "maxBackoff": "1s",
    "backoffMultiplier": 2,
    # These say that nothing answered; everything else is an answer. CANCELLED is what gRPC gives to calls that had
    # reached a server but not yet its methods when it shut down. What the caller cancels itself is not repeated.
    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
}

# Repeats stop while more than about one call in ten fails, so that they do not keep a server down.
_RETRY_THROTTLING = {"maxTokens": 100, "tokenRatio": 0.1}


@cache
def service_config() -> str:
    """Make the service config, as JSON.

    Only methods that the contract declares safe to repeat have a retry policy, with the IDs that this client makes.
    It sets no timeout: gRPC's core gets that wrong, so deadlines are set for each call (see
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
