"""Potluck pools free LLM tiers, a local model and optional paid overflow behind one endpoint."""

__version__ = "0.1.0"
