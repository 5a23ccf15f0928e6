"""Limits of callers: how much a principal or a customer may ask for, shared by all processes of a service."""
