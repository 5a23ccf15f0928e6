"""What becomes of a job: claim, completion, rescue, control by hand, and the columns that each writes."""
