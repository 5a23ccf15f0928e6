"""HTTP calls to endpoints that job types name: only to hosts and addresses that the runner's settings allow."""
