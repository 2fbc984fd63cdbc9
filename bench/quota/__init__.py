"""The free-tier bench: what each gateway makes of the same quotas, counted by the providers themselves."""
