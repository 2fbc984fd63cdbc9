"""The model on this machine: its weights, its process, and other model servers found on loopback.

Rules: to the rest of the code it is one more provider with a base URL (`LocalModel.targets`). It runs in
its own process, so that a crash in native code never takes the gateway along. All of it may be missing (no
wheel for this machine, no weights, an old processor): the gateway then runs without it and says why.
"""
