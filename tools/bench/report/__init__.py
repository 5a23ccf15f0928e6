"""Figures, tables, charts, and the machine they were measured on."""
