"""HTTP in, one handler call, HTTP out; it cannot name a stage."""
