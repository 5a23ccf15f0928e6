"""The local stack: embedded servers, services and runners as processes of this machine."""
