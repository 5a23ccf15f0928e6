"""Who calls, and what the contract lets them do."""
