"""Other task queues with the same work written by hand, in a separate virtual environment."""
