"""What the jobs service asks of others: services, Redis, caches, processes."""
