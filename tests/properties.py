"""How properties are tested: the same examples each time, and nothing kept on the disk."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

held = settings(max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow])
"""Decorates a test of a property."""
