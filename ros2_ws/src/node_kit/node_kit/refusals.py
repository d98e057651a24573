"""Inputs that cannot be used: said once in the log, and on /diagnostics until one can."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node


class Refusals:
    """Why the newest input was refused. Safe to use from any thread.

    Attributes:
        reason: empty: it was not.
    """

    def __init__(self, node: Node):
        self._logger = node.get_logger()
        self.reason = ""

    def say(self, reason: str) -> None:
        """The newest input is refused."""
        if reason != self.reason:
            self._logger.warning(f"refused: {reason}")
        self.reason = reason

    def over(self) -> None:
        """The newest input could be used."""
        self.reason = ""

    def status(self, otherwise: str) -> tuple[bytes, str]:
        """Level and text for /diagnostics; `otherwise`: the text where nothing is refused."""
        if self.reason:
            return DiagnosticStatus.ERROR, f"refused: {self.reason}"
        return DiagnosticStatus.OK, otherwise
