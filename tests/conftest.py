"""Shared settings of the tests."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "reproducible",
    deadline=None,  # a noisy machine must not fail a test
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "reproducible"))
