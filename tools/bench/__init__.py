"""The benchmarks of the platform as a whole: measures P1 to P8 of docs/performance.md, the SQL reference and the peers.

`tools.cli.commands.bench` is the command. All load comes from separate processes.
"""
