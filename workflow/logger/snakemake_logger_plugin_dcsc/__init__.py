"""
A logger plugin of Snakemake, by its public interface: what happens in a run, as lines of JSON, for `dcsc run` to show.

Snakemake goes on to print as always. It finds this package because `dcsc run` puts the folder on the path.
"""

import json
import os
from dataclasses import dataclass, field
from logging import LogRecord
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.settings import LogHandlerSettingsBase

FIELDS = ("stats", "cores", "nodes", "jobid", "job_id", "rule_name", "output", "log", "exception", "job_error_info")
"""What is passed on of an event, as far as it has it."""


@dataclass
class LogHandlerSettings(LogHandlerSettingsBase):
    """Where the lines go to."""

    descriptor: int | None = field(
        default=None, metadata={"help": "Open file descriptor that takes a line of JSON an event.", "type": int}
    )


class LogHandler(LogHandlerBase):
    """Writes events, and nothing any more once nobody reads."""

    def __post_init__(self) -> None:
        """Take the descriptor."""
        self._descriptor = getattr(self.settings, "descriptor", None)

    def emit(self, record: LogRecord) -> None:
        """Write an event; a run never fails because it cannot be shown."""
        event = getattr(record, "event", None)
        if self._descriptor is None:
            return
        told: dict[str, Any] = {"event": str(event) if event else None, "message": record.getMessage()}
        told |= {name: getattr(record, name) for name in FIELDS if getattr(record, name, None) is not None}
        told["wildcards"] = dict(getattr(record, "wildcards", None) or {})
        try:
            line = (json.dumps(told, default=str) + "\n").encode()
            while line:  # a signal can cut a long one
                line = line[os.write(self._descriptor, line) :]
        except (OSError, TypeError, ValueError):
            self._descriptor = None

    @property
    def writes_to_stream(self) -> bool:
        """Leave Snakemake's own output as it is."""
        return False

    @property
    def writes_to_file(self) -> bool:
        """Leave Snakemake's own log file as it is."""
        return False

    @property
    def has_filter(self) -> bool:
        """Take everything, whatever --quiet says."""
        return True

    @property
    def has_formatter(self) -> bool:
        """Format nothing."""
        return True

    @property
    def needs_rulegraph(self) -> bool:
        """Need none."""
        return False
