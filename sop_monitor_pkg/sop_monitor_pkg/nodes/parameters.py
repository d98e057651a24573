"""The parameters of the monitor node."""

from __future__ import annotations

from dataclasses import dataclass

from node_kit.cells import CameraParameters
from node_kit.parameters import parameter

from sop_monitor_pkg.core.alarms.book import AlarmRules


@dataclass
class SopMonitorParameters(CameraParameters):
    """Files, delays, and whom the alarms reach."""

    procedure: str = parameter(
        "station", "procedure file, or the name of an example: station, kitting"
    )
    normal: str = parameter(
        "", "folder that ./run sop learn wrote, for normal times and clips on the page; empty: none"
    )
    journal: str = parameter(
        "~/.local/state/vjepa_ros/sop_journal.db", "where the journal of the alarms is kept"
    )
    rate_hz: float = parameter(10.0, "of the look at the time", "Hz", minimum=1.0, maximum=100.0)
    on_delay_s: float = parameter(
        0.2, "how long an anomaly lasts before it is an alarm", "s", minimum=0.0, maximum=60.0
    )
    off_delay_s: float = parameter(
        2.0, "how long a cause is gone before its alarm is cleared", "s", minimum=0.0, maximum=60.0
    )
    cause_window_s: float = parameter(
        10.0, "what is seen so soon after an alarm belongs to it", "s", minimum=0.0, maximum=600.0
    )
    longest_shelf_s: float = parameter(
        28800.0, "longest time that an alarm can be shelved", "s", minimum=60.0, maximum=604800.0
    )
    web_host: str = parameter("127.0.0.1", "address of the page; 0.0.0.0: every network")
    web_port: int = parameter(8080, "port of the page; 0: no page", minimum=0, maximum=65535)
    web_token_file: str = parameter(
        "", "file with the token for answers on the page; empty: beside the journal"
    )
    mqtt_host: str = parameter("", "MQTT broker; empty: none")
    mqtt_port: int = parameter(1883, "its port", minimum=1, maximum=65535)
    mqtt_topic: str = parameter("sop", "first part of the MQTT topics")
    mqtt_user: str = parameter("", "user at the broker; empty: none")
    mqtt_password_file: str = parameter("", "file with the user's password; empty: none")

    def __post_init__(self) -> None:
        if not self.mqtt_topic or any(sign in self.mqtt_topic for sign in "+#"):
            raise ValueError(f"mqtt_topic is {self.mqtt_topic!r}; give a topic without + and #")

    @property
    def rules(self) -> AlarmRules:
        """The times of the alarm logic."""
        return AlarmRules(
            on_delay_s=self.on_delay_s,
            off_delay_s=self.off_delay_s,
            cause_window_s=self.cause_window_s,
            longest_shelf_s=self.longest_shelf_s,
        )
