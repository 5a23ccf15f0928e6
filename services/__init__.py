"""The platform: the services, what they are built from, and the `innosystem` command. Users never install it."""
