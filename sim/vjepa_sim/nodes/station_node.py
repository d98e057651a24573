"""The simulated assembly station on ROS 2: its camera, and the truth for tests."""

from __future__ import annotations

import json
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from node_kit.cells import load_cell
from node_kit.health import HealthPublisher, status
from node_kit.images import to_msg
from node_kit.lifecycle import KitNode, run
from node_kit.qos import RELIABLE, SENSOR
from rclpy.clock import Clock, ClockType
from rclpy.parameter import Parameter
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String

from vjepa_sim.core.station.cycle import FilmedCycle
from vjepa_sim.core.station.faults import KINDS, FaultError
from vjepa_sim.core.station.frame import StationFrame
from vjepa_sim.core.station.recording import cycle_truth, frame_truth
from vjepa_sim.core.station.station import Station
from vjepa_sim.core.station.world import SolidsWorld
from vjepa_sim.nodes.messages import camera_info
from vjepa_sim.nodes.station_parameters import StationParameters


class StationNode(KitNode):
    """Films cycles at the pace of the wall clock; frames that come too late are left out."""

    Parameters = StationParameters

    def __init__(self, **kwargs: Any):
        super().__init__("station", **kwargs)

    def configure(self) -> None:
        self.camera = load_cell(self.p.cell, "station").camera(self.p.camera)
        p = self.p
        self.station = Station(p.seed, KINDS, p.faulty_share, p.rate_hz, p.restock_share)
        self.world = SolidsWorld()  # for all cycles: a new one for each would eat memory
        self.next_index = self.p.first_cycle
        self.cycle: FilmedCycle | None = None
        self.left_out = 0
        self.refusal = ""
        self.image = self.create_publisher(Image, self.camera.topic, SENSOR)
        self.camera_info = self.create_publisher(CameraInfo, self.camera.info_topic, SENSOR)
        self.truth = self.create_publisher(String, "station/truth", RELIABLE)
        HealthPublisher(self, [], self.report)

    def activate(self) -> None:
        self.begin_cycle()
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        # Twice as often as frames are due: a late tick costs half a frame's time, not a frame.
        self.timer = self.create_timer(0.5 / self.p.rate_hz, self.tick, clock=steady)

    def deactivate(self) -> None:
        self.destroy_timer(self.timer)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.cycle = None
            self.world.close()
            del self.world

    def begin_cycle(self) -> None:
        """Ends the cycle, if there is one, and prepares the next, with the fault asked for."""
        if self.cycle is not None:
            self.cycle.close()
        index, kind, detail = self.next_index, self.p.next_fault, self.p.next_detail
        try:
            plan = self.station.plan(index, kind, detail if kind else "")
            self.refusal = ""
        except FaultError as error:
            self.refusal = f"next_detail refused: {error}"
            self.get_logger().warning(self.refusal)
            plan = self.station.plan(index)
        if kind or detail:
            self.set_parameters(
                [Parameter("next_fault", value=""), Parameter("next_detail", value="")]
            )
        self.next_index += 1
        self.cycle = self.station.cycle(index, plan, self.world)
        self.frame_index = -1
        self.began_s = time.monotonic()
        kinds = ", ".join(fault.kind for fault in plan.faults) or "correct"
        self.get_logger().info(f"cycle {index}: {kinds}, {self.cycle.script.duration_s:.1f} s")

    def tick(self) -> None:
        """Publishes the frame that is due, if one is."""
        due = int((time.monotonic() - self.began_s) * self.p.rate_hz)
        if due <= self.frame_index:
            return
        if due >= self.cycle.frames_count:
            self.tell(cycle_truth(self.cycle, self.station, self.next_index - 1), "cycle_end")
            self.begin_cycle()
            due = 0
        self.left_out += due - self.frame_index - 1
        self.frame_index = due
        stamp = self.get_clock().now().to_msg()
        frame = self.cycle.frame(due)
        self.image.publish(to_msg(frame.image, stamp, self.camera.frame))
        camera = self.cycle.camera
        size = (camera.width_px, camera.height_px)
        self.camera_info.publish(camera_info(size, camera.intrinsics(), stamp, self.camera.frame))
        self.tell(self.describe(frame, stamp), "frame")

    def describe(self, frame: StationFrame, stamp: Any) -> dict[str, Any]:
        """What is true in this frame: as in frames.jsonl, and cycle, step and faults so far."""
        return frame_truth(frame, self.cycle) | {
            "stamp_ns": Time.from_msg(stamp).nanoseconds,
            "step": frame.step,
            "faults": [
                {"kind": event.kind, "step": event.step, "visible_s": event.visible_s}
                for event in self.cycle.events()
                if event.visible_s is not None
            ],
        }

    def tell(self, truth: dict[str, Any], about: str) -> None:
        """Publishes on station/truth."""
        text = json.dumps({"about": about, "cycle": self.next_index - 1} | truth)
        self.truth.publish(String(data=text))

    def report(self) -> list[DiagnosticStatus]:
        """The station on /diagnostics."""
        level = DiagnosticStatus.WARN if self.refusal else DiagnosticStatus.OK
        values = {"cycle": str(self.next_index - 1), "left_out": str(self.left_out)}
        return [status("station", level, self.refusal or "working", **values)]


def main() -> None:
    run(StationNode)


if __name__ == "__main__":
    main()
