"""Real clients against a real gateway: each in an environment of its own, with pretend providers behind."""
