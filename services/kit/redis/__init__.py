"""Connections to Redis that survive a failover, and messages over them."""
