"""The toolkit of every service. It is independent of customers, wallets and jobs."""
