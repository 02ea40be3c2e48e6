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


def pytest_terminal_summary(terminalreporter):
    """Show what the enumeration of signs reached, which no pass or fail tells."""
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, lines in report.user_properties:
            if name == "enumeration":
                terminalreporter.section("bounds against exact failure rates, over the signs of all layers")
                terminalreporter.write_line("\n".join(lines))
