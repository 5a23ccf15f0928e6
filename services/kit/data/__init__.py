"""The data layer that every service is built on: database, unit of work, repositories, errors."""
