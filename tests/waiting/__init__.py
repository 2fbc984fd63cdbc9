"""Tests of `potluck.waiting`."""
