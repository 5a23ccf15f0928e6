"""What a job type says about its HTTP endpoint: the service that stores it checks it, and runners call by it."""
