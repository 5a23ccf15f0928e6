"""The names of the constraints that the use cases tell apart; the database and the store in memory share them."""

JOB_TYPE_ID = "pk_job_types"
JOB_TYPE_NAME = "uq_job_types_name"
JOB_TYPE_IN_USE = "fk_jobs_job_type_id_job_types"
