"""Potluck beside its peers, on one machine, in one run; `bench/README.md` says how to read the figures."""
