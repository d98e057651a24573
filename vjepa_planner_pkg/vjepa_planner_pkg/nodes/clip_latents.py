"""The encoder's second output: latents of a sliding window over the camera's stream."""

from __future__ import annotations

import collections
import time
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticStatus
from node_kit.convert import latent_to_msg
from node_kit.health import status
from node_kit.images import ImageError, to_array
from node_kit.lifecycle import KitNode
from node_kit.parameters import parameter
from node_kit.qos import COMMAND
from node_kit.stamps import stamp_ns
from sensor_msgs.msg import Image
from vjepa_interfaces.msg import Latent
from vjepa_world_model.data.clips import MOST_FRAMES, POLICIES, ClipSizes, ClipStream
from vjepa_world_model.model.world_model import WorldModel

from vjepa_planner_pkg.core.goals.frames import FrameGate, FrameRefusal
from vjepa_planner_pkg.nodes.messages import header

_UNREAD = 8  # pictures that wait for being read at most


@dataclass
class ClipParameters:
    """Which clips are encoded, if any."""

    clip_frames: int = parameter(
        0, "pictures in a clip, an even number; 0: no clips and no topic clip_latent",
        minimum=0, maximum=MOST_FRAMES,
    )  # fmt: skip
    clip_hop: int = parameter(
        16, "pictures from the start of one clip to that of the next; at most clip_frames",
        minimum=1, maximum=MOST_FRAMES,
    )  # fmt: skip
    clip_rate_hz: float = parameter(
        8.0, "camera pictures taken per second; others are left out evenly; 0: all", unit="Hz",
        minimum=0.0, maximum=1000.0,
    )  # fmt: skip
    clip_drop: str = parameter(
        "oldest",
        "when encoding is slower: oldest skips to the newest clip, newest refuses pictures until "
        "the clip that waits is encoded",
        choices=POLICIES,
    )

    def clip_sizes(self) -> ClipSizes | None:
        """None where clips are off; raises ValueError for sizes that do not go together."""
        if not self.clip_frames:
            return None
        return ClipSizes(self.clip_frames, self.clip_hop, self.clip_rate_hz, self.clip_drop)


class ClipLatents:
    """Cuts clips from accepted pictures and publishes their latents, in workers of its own: one
    reads pictures and one encodes clips, so that pictures are read while a clip is encoded.

    A latent has the header of the clip's newest picture.

    Attributes:
        refused: pictures that were due and not read: of no use, or too many at once.
    """

    def __init__(self, node: KitNode, model: WorldModel, sizes: ClipSizes, gate: FrameGate):
        """`gate` decides which pictures are accepted."""
        self._node = node
        self._model = model
        self._gate = gate
        self._clips = ClipStream(sizes, model.image_size)
        self.refused = 0
        self._frame = ""
        self._encode_ms = 0.0
        self._output = node.create_publisher(Latent, "clip_latent", COMMAND)
        self._unread: collections.deque[Image] = collections.deque(maxlen=_UNREAD)
        self._reader = node.create_worker(lambda _: self._read_waiting(), "clip pictures")
        self._worker = node.create_worker(lambda _: self._encode_ready(), "clips")

    def offer(self, message: Image) -> None:
        """Takes a picture of the camera's stream if it is due; it is read in a worker."""
        if self._clips.wants(stamp_ns(message.header.stamp)):
            self.refused += len(self._unread) == _UNREAD  # the oldest makes room
            self._unread.append(message)
            self._reader.offer(True)

    def report(self) -> DiagnosticStatus:
        """What became of the pictures, for /diagnostics."""
        counts = {name: str(value) for name, value in vars(self._clips.counts).items()}
        lost = self._clips.counts.skipped or self._clips.counts.dropped
        level = DiagnosticStatus.WARN if lost else DiagnosticStatus.OK
        text = "pictures are lost: encoding is slower than they come" if lost else "encoding"
        return status(
            "clips",
            level,
            text,
            encode_ms=f"{self._encode_ms:.1f}",
            refused=str(self.refused),
            **counts,
        )

    def _read_waiting(self) -> None:
        while self._unread:
            self._read(self._unread.popleft())

    def _read(self, message: Image) -> None:
        frame = message.header.frame_id
        try:
            self._gate.check_camera(message.width, message.height, frame)
            picture = to_array(message, self._node.camera.topic)
        except (ImageError, FrameRefusal):
            self.refused += 1  # the encoder says why, for the latent of this picture
            return
        self._frame = frame
        if self._clips.push(picture, stamp_ns(message.header.stamp)):
            self._worker.offer(True)

    def _encode_ready(self) -> None:
        while self._node.active and (clip := self._clips.take()) is not None:
            begun = time.monotonic()
            features = self._model.encode_clips(clip.pixels)[0].cpu().numpy()
            self._encode_ms = 1e3 * (time.monotonic() - begun)
            if not self._node.active:
                return
            newest = header(clip.last_ns, self._frame)
            self._output.publish(
                latent_to_msg(features, self._model.grid, newest, self._model.name)
            )
