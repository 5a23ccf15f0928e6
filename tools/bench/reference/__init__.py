"""The life of a job as bare SQL."""
