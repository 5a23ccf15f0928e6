"""The jobs service: job types, and jobs from submission to settlement."""
