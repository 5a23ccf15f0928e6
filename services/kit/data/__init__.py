"""The data layer that every service is built on: database, transactions, repositories, errors."""
