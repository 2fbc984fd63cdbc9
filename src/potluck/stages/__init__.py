"""One file a technique; ORDER says which comes first and why."""
