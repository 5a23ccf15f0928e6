"""Rules of jobs and job types, without transport and database."""
