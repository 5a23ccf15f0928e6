"""What runs in the peers' environment: workers and submitters. Nothing of the platform is imported here."""
