"""The base of every node, and `run`, the main function of every executable.

    class EncoderNode(KitNode):
        Parameters = EncoderParameters          # see node_kit.parameters
        def __init__(self, **kwargs):
            super().__init__("encoder", **kwargs)
        def configure(self): ...                # load, create topics; raise to refuse
        def activate(self): ...                 # start to act
        def deactivate(self): ...               # send the safe action; workers are idle
        def teardown(self): ...                 # release what ROS does not own

    def main():
        run(EncoderNode)

Topics, services, timers, action servers and workers made in `configure` or `activate` are
destroyed after `teardown` without further ado, so a node can be configured again.
"""

from __future__ import annotations

import collections
import dataclasses
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from rclpy.subscription import MessageInfo

from node_kit.parameters import KitParameters, ParameterError, declare
from node_kit.qos import COMMAND, LATCHED
from node_kit.worker import LatestWorker

_LAST_WORK_S = 1.0  # work under way when a node deactivates gets this long to end
_FLUSH_S = 0.3  # the last messages get this long to reach their subscribers
_ENTITIES = {
    "publishers": "publisher",
    "subscriptions": "subscription",
    "clients": "client",
    "services": "service",
    "timers": "timer",
    "guards": "guard_condition",
    "waitables": None,  # action servers and clients destroy themselves
}


class StartError(RuntimeError):
    """A node could not be configured or activated; the text is the reason in one line."""


@dataclasses.dataclass
class NoParameters:
    """For a node that has none."""


class KitNode(LifecycleNode):
    """A lifecycle node that fails loudly, releases in one place and stops safely.

    Attributes:
        Parameters: dataclass of `node_kit.parameters.parameter` fields; set by the subclass.
        p: its instance with the values that hold; runtime changes appear in it.
        active: whether the node is active. Callbacks also run while it is not: ask.
        failure: the reason given to `fail`, None while all is well.
    """

    Parameters: type = NoParameters

    def __init__(self, name: str, **kwargs: Any):
        """Declares the parameters. `kwargs` go to rclpy's LifecycleNode.

        Raises:
            ParameterError: a parameter is unknown, of the wrong type or out of range.
        """
        super().__init__(name, **kwargs)
        self.failure: str | None = None
        self.active = False
        self._owned_before: dict[str, set] = {}
        self._workers: list[LatestWorker] = []
        self._refusal = ""
        self._inbox: collections.deque[Callable[[], Any]] = collections.deque()
        self._inbox_bell = self.create_guard_condition(self._drain_inbox)
        try:
            self.autostart = declare(self, KitParameters, refuse_unknown=False).autostart
            self.p = declare(self, self.Parameters, self.parameters_changed)
        except Exception:
            self.destroy_node()
            raise

    # What a subclass writes.

    def configure(self) -> None:
        """Loads and creates; raise to refuse, with a text that names the remedy."""

    def activate(self) -> None:
        """Starts to act."""

    def deactivate(self) -> None:
        """Sends the safe action. Publishers still work; workers are idle, `active` is False.

        A worker that takes longer than a second is not waited for: it asks `active` before it
        publishes.
        """

    def teardown(self) -> None:
        """Releases what ROS does not own; also called after a `configure` that failed half way."""

    def parameters_changed(self, names: set[str]) -> None:
        """Called after runtime parameters took new values."""

    # What a subclass uses.

    def create_worker(
        self,
        handle: Callable[[Any], Any],
        name: str,
        on_error: Callable[[Exception], Any] | None = None,
    ) -> LatestWorker:
        """A `LatestWorker` that this node stops. Without `on_error` an exception ends the node."""
        worker = LatestWorker(handle, name, on_error or self.fail)
        self._workers.append(worker)
        return worker

    def create_latched_subscription(
        self, msg_type: type, topic: str, callback: Callable[[Any], Any], qos: QoSProfile = LATCHED
    ) -> None:
        """Hears latched publishers, also those that spoke before, and volatile ones alike.

        A transient-local reader does not match a volatile publisher, so there are two readers;
        what both bring is one message, told by publisher and source time.
        """
        seen: collections.deque = collections.deque(maxlen=32)

        def once(message: Any, info: MessageInfo) -> None:
            key = (str(info.get("publisher_gid")), info["source_timestamp"])
            if key in seen:
                return
            seen.append(key)
            callback(message)

        for profile in (qos, COMMAND):
            self.create_subscription(msg_type, topic, once, profile)

    def call_soon(self, callback: Callable[[], Any]) -> None:
        """Runs `callback` in the executor's thread; may be called from any thread."""
        self._inbox.append(callback)
        self._inbox_bell.trigger()

    def fail(self, reason: str | BaseException) -> None:
        """Ends the process with this reason and exit code 1; may be called from any thread."""
        if isinstance(reason, BaseException):
            self._log_traceback("failed", reason)
            reason = _one_line(reason)
        if self.failure is None:
            self.failure = reason
        self._inbox_bell.trigger()

    def start(self) -> None:
        """Configures and activates.

        Raises:
            StartError: with the reason; what was made so far is released.
        """
        for transition, trigger in (
            ("configure", self.trigger_configure),
            ("activate", self.trigger_activate),
        ):
            if trigger() != TransitionCallbackReturn.SUCCESS:
                raise StartError(f"{self.get_name()} could not {transition}: {self._refusal}")

    def shut_down(self) -> None:
        """Stops whatever state the node is in, and sends what `deactivate` had to say."""
        if self._state_machine.current_state[1] != "finalized":
            self.trigger_shutdown()

    # Transitions of the lifecycle. rclpy swallows what they raise: it is logged here.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._owned_before = {kind: set(getattr(self, kind)) for kind in _ENTITIES}
        if self._attempt("configure", self.configure):
            return super().on_configure(state)
        self._release()
        return TransitionCallbackReturn.FAILURE

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.active = True
        if self._attempt("activate", self.activate):
            return super().on_activate(state)
        self.active = False
        return TransitionCallbackReturn.FAILURE

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.active = False
        for worker in self._workers:  # its last result must not follow the safe action
            worker.clear()
            worker.wait_idle(_LAST_WORK_S)
        self._inbox.clear()
        self._attempt("deactivate", self.deactivate)
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        if state.label == "active":
            self.on_deactivate(state)
        if state.label != "unconfigured":
            self._release()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        self.active = False
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        for worker in self._workers:
            worker.stop()
        super().destroy_node()

    # Helpers.

    def _attempt(self, what: str, step: Callable[[], None]) -> bool:
        try:
            step()
        except ParameterError as error:  # the user's: where it was noticed says nothing
            self._refusal = _one_line(error)
            self.get_logger().error(f"could not {what}: {self._refusal}")
            return False
        except Exception as error:
            self._refusal = _one_line(error)
            self._log_traceback(f"could not {what}", error)
            return False
        return True

    def _release(self) -> None:
        """The one way down: workers, the node's own things, then what it made on ROS."""
        for worker in self._workers:
            if not worker.stop():
                self.get_logger().warning("a worker is still busy; it ends with the process")
        self._workers.clear()
        self._attempt("tear down", self.teardown)
        self._flush()
        for kind, name in _ENTITIES.items():
            for entity in set(getattr(self, kind)) - self._owned_before.get(kind, set()):
                if name is None:
                    entity.destroy()
                else:
                    getattr(self, f"destroy_{name}")(entity)
        self._inbox.clear()

    def _flush(self) -> None:
        """Waits a moment until what was published last has arrived."""
        deadline = time.monotonic() + _FLUSH_S
        for publisher in set(self.publishers) - self._owned_before.get("publishers", set()):
            left = max(0.0, deadline - time.monotonic())
            publisher.wait_for_all_acked(Duration(seconds=left))

    def _drain_inbox(self) -> None:
        while self._inbox:
            self._inbox.popleft()()

    def _log_traceback(self, what: str, error: BaseException) -> None:
        text = "".join(traceback.format_exception(error)).rstrip()
        self.get_logger().error(f"{what}: {_one_line(error)}\n{text}")


def run(*factories: Callable[[], KitNode], args: list[str] | None = None) -> None:
    """Runs nodes in this process until SIGINT, SIGTERM or the failure of one of them.

    Nodes with `autostart` configure and activate themselves, in the order given. At the end
    they shut down in the reverse order: each stops its work and sends its safe action while
    publishers still work. A second signal ends the process at once.

    Raises:
        SystemExit: with code 1 when a node failed; its name and reason are the last line on
            standard error.
    """
    # rclpy's own handlers would end the context first, and with it the last command to the arm.
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    stop = _StopSignals()
    executor = SingleThreadedExecutor()
    nodes: list[KitNode] = []
    reason: str | None = None
    try:
        for factory in factories:
            nodes.append(factory())
            executor.add_node(nodes[-1])
        for node in nodes:
            if node.autostart and not stop.received:
                node.start()
        reason = _spin(nodes, executor, stop)
    except (StartError, ParameterError) as error:
        reason = str(error)
    except Exception as error:
        traceback.print_exc()
        reason = _one_line(error)
    finally:
        for node in reversed(nodes):
            node.shut_down()
            executor.remove_node(node)
            node.destroy_node()
        executor.shutdown()
        rclpy.try_shutdown()
    if reason is not None:
        print(reason, file=sys.stderr, flush=True)
        raise SystemExit(1)


def _spin(nodes: list[KitNode], executor: SingleThreadedExecutor, stop: _StopSignals) -> str | None:
    """Runs callbacks until it is time to end; returns why, None if that is in order."""
    while not stop.received:
        try:
            # A signal does not end the wait of the middleware: look again every 100 ms.
            executor.spin_once(timeout_sec=0.1)
        except ExternalShutdownException:
            return None
        except Exception as error:
            traceback.print_exc()
            return f"{' + '.join(n.get_name() for n in nodes)}: {_one_line(error)}"
        for node in nodes:
            if node.failure is not None:
                return f"{node.get_name()}: {node.failure}"
    return None


class _StopSignals:
    """Notes the first SIGINT or SIGTERM; the second one acts as Python would without this."""

    def __init__(self) -> None:
        self.received = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: Any) -> None:
        self.received = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text or type(error).__name__
