"""What the MPC hears: latents, states, the guard, refusals of the encoder, and who is alive."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from node_kit.health import StreamMonitor
from node_kit.lifecycle import KitNode
from node_kit.qos import COMMAND, LATCHED, RELIABLE, SENSOR
from robot_cell import Arm
from std_msgs.msg import String
from vjepa_interfaces.msg import EndEffectorState, GuardStatus, Latent

from vjepa_planner_pkg.core.mpc.io import Effect, Now
from vjepa_planner_pkg.core.mpc.mpc import MPC
from vjepa_planner_pkg.core.mpc.parameters import MpcParameters
from vjepa_planner_pkg.nodes import messages, presence


class MpcInputs:
    """Tells an `MPC` what happens; `carry_out` gets its effects.

    Attributes:
        monitors: of the streams, for /diagnostics.
    """

    def __init__(
        self,
        node: KitNode,
        mpc: MPC,
        parameters: MpcParameters,
        arm: Arm,
        peers: Sequence[str],
        carry_out: Callable[[Iterable[Effect]], None],
        returned: Callable[[str], None],
    ):
        """States must be of `arm`.

        `returned(name)` is called when the peer `name` is there, or there again.
        """
        self._node, self._mpc, self._arm, self._carry_out = node, mpc, arm, carry_out
        self._latents = StreamMonitor("latent", stale_after_s=parameters.latent_max_age_s)
        self._states = StreamMonitor("end_effector_state", stale_after_s=parameters.state_max_age_s)
        self.monitors = [self._latents, self._states]
        node.create_subscription(Latent, "latent", self._on_latent, COMMAND)
        node.create_subscription(EndEffectorState, "end_effector_state", self._on_state, SENSOR)
        node.create_subscription(String, "goal_rejected", self._on_goal_rejected, RELIABLE)
        node.create_subscription(String, "image_rejected", self._on_image_rejected, RELIABLE)
        if parameters.guard:
            node.create_subscription(GuardStatus, "guard_status", self._on_guard, LATCHED)
        for name in peers:
            self._watch(name, returned)

    def now(self) -> Now:
        """This moment by the steady clock and by the node's."""
        return Now(time.monotonic(), self._node.get_clock().now().nanoseconds)

    def _on_latent(self, message: Latent) -> None:
        self._latents.tick(message.header.stamp)
        try:
            latent = messages.to_latent(message)
        except ValueError as error:
            self._carry_out(self._mpc.on_bad_latent(f"cannot be used: {error}", self.now()))
            return
        self._carry_out(self._mpc.on_latent(latent, self.now()))

    def _on_state(self, message: EndEffectorState) -> None:
        self._states.tick(message.header.stamp)
        try:
            arm = messages.to_arm(message, self._arm)
        except ValueError as error:
            self._carry_out(self._mpc.on_bad_arm(f"cannot be used: {error}", self.now()))
            return
        self._carry_out(self._mpc.on_arm(arm, self.now()))

    def _on_goal_rejected(self, message: String) -> None:
        self._carry_out(self._mpc.on_goal_rejected(message.data, self.now()))

    def _on_image_rejected(self, message: String) -> None:
        self._carry_out(self._mpc.on_bad_latent(f"is missing: {message.data}", self.now()))

    def _on_guard(self, message: GuardStatus) -> None:
        ready = message.state == GuardStatus.READY
        reason = message.reason or "holding"
        self._carry_out(self._mpc.on_guard(ready, reason, self.now()))

    def _watch(self, name: str, returned: Callable[[str], None]) -> None:
        def tell(problem: str) -> None:
            self._carry_out(self._mpc.on_peer(name, problem, self.now()))

        def present(model: str) -> None:
            returned(name)
            tell("")

        presence.watch(self._node, f"{name}_model", present, tell)
