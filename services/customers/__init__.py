"""The customers service: who submits jobs, and their API keys."""
