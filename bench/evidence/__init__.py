"""The field's headline claims about saving calls, each with the measured number beside it."""
