"""What outlives a process: the records of requests, the client keys and the counters of the workers."""
