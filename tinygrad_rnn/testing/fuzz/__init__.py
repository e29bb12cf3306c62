"""A differential fuzzer over random programs: see `python -m tinygrad_rnn.testing fuzz --help`."""
