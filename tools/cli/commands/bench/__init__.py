"""`innosystem bench`: the options and tables of the benchmarks in `tools.bench`."""
