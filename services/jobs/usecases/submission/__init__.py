"""The use cases of submission: jobs are admitted, their price is reserved, and they are stored."""
