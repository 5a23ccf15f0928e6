"""Task queues that others use, doing the same work by hand, in a virtual environment of their own."""
