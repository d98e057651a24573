"""Promises of the node base, inside one process."""

import threading
from dataclasses import dataclass

import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from node_kit.lifecycle import KitNode, StartError
from node_kit.parameters import ParameterError, parameter
from node_kit.qos import COMMAND, LATCHED
from rclpy.parameter import Parameter
from std_msgs.msg import String
from std_srvs.srv import Trigger


@dataclass
class TalkerParameters:
    word: str = parameter("hello", "what it says", runtime=True)
    fault: str = parameter(
        "", "where it breaks", choices=("", "configure", "activate", "deactivate", "teardown")
    )


class Talker(KitNode):
    """Says its word when it is told to, and `goodbye` when it stops."""

    Parameters = TalkerParameters

    def __init__(self, name="talker", **kwargs):
        self.log = []
        super().__init__(name, **kwargs)

    def configure(self):
        self.spoken = self.create_publisher(String, "spoken", LATCHED)
        self.create_service(Trigger, "~/speak", self.speak)
        self.create_timer(0.01, lambda: None)
        self.create_subscription(String, "heard", lambda m: None, COMMAND)
        self.worker = self.create_worker(self.work, "talker_work")
        self.step("configure")

    def activate(self):
        self.step("activate")

    def deactivate(self):
        self.step("deactivate")
        self.spoken.publish(String(data="goodbye"))

    def teardown(self):
        self.step("teardown")

    def step(self, name):
        self.log.append(name)
        if self.p.fault == name:
            raise RuntimeError(f"no {name} without a voice;\n buy one")

    def speak(self, request, response):
        self.spoken.publish(String(data=self.p.word))
        response.success = True
        return response

    def work(self, item):
        if item == "poison":
            raise ValueError("poison in the work")
        self.call_soon(lambda: self.log.append((item, threading.current_thread().name)))


def state_of(ros, name="talker"):
    return ros.call(GetState, f"{name}/get_state", GetState.Request()).current_state.label


def change(ros, transition, name="talker"):
    request = ChangeState.Request(transition=Transition(id=transition))
    return ros.call(ChangeState, f"{name}/change_state", request).success


def test_start_configures_and_activates_and_shutdown_says_goodbye(ros):
    node = ros.start(Talker, word="hi")
    assert node.active
    assert state_of(ros) == "active"
    spoken = ros.collect(String, "spoken", LATCHED)
    ros.call(Trigger, "talker/speak", Trigger.Request())
    ros.wait_for(lambda: spoken, "a word")
    node.shut_down()
    ros.wait_for(lambda: len(spoken) == 2, "a goodbye")
    assert [message.data for message in spoken] == ["hi", "goodbye"]
    assert node.log == ["configure", "activate", "deactivate", "teardown"]
    assert not node.active
    node.shut_down()
    assert node.log[-1] == "teardown", "a second shutdown does nothing"


def entities(node):
    kinds = ("publishers", "subscriptions", "services", "timers", "waitables", "clients", "guards")
    return {kind: len(list(getattr(node, kind))) for kind in kinds}


def test_a_node_can_be_configured_again_and_nothing_piles_up(ros):
    node = ros.create(Talker)
    bare = entities(node)
    for _ in range(3):
        assert change(ros, Transition.TRANSITION_CONFIGURE)
        assert entities(node) != bare
        assert change(ros, Transition.TRANSITION_ACTIVATE)
        assert change(ros, Transition.TRANSITION_DEACTIVATE)
        assert change(ros, Transition.TRANSITION_CLEANUP)
        assert entities(node) == bare
    assert node.log == ["configure", "activate", "deactivate", "teardown"] * 3
    assert not [t for t in threading.enumerate() if t.name == "talker_work"]


def test_a_failure_in_configure_is_logged_with_its_traceback_and_released(ros, capfd):
    node = ros.create(Talker, fault="configure")
    bare = entities(node)
    with pytest.raises(StartError) as error:
        node.start()
    assert str(error.value) == "talker could not configure: no configure without a voice; buy one"
    logged = capfd.readouterr().err
    assert "Traceback" in logged and "in configure" in logged
    assert state_of(ros) == "unconfigured"
    assert node.log == ["configure", "teardown"]
    assert entities(node) == bare


def test_a_failure_in_activate_leaves_the_node_inactive(ros):
    node = ros.create(Talker, fault="activate")
    with pytest.raises(StartError, match="talker could not activate: no activate"):
        node.start()
    assert not node.active
    assert state_of(ros) == "inactive"


@pytest.mark.parametrize("fault", ["deactivate", "teardown"])
def test_a_failure_on_the_way_down_does_not_stop_the_way_down(ros, fault):
    node = ros.create(Talker, fault=fault)
    bare = entities(node)
    node.start()
    node.shut_down()
    assert node.log[-2:] == ["deactivate", "teardown"]
    assert entities(node) == bare


def test_a_wrong_parameter_refuses_the_node(ros):
    with pytest.raises(ParameterError, match="has no parameter 'wrod'; it knows autostart, fault"):
        ros.create(Talker, wrod="hi")


def test_a_runtime_parameter_reaches_the_running_node(ros):
    node = ros.start(Talker)
    assert node.set_parameters([Parameter("word", value="ahoy")])[0].successful
    assert node.p.word == "ahoy"


def test_the_worker_hands_results_to_the_executor_thread(ros):
    node = ros.start(Talker)
    node.worker.offer("fruit")
    ros.wait_for(lambda: len(node.log) == 3, "the result of the work")
    assert node.log[-1] == ("fruit", threading.main_thread().name)


def test_the_safe_action_comes_after_the_last_result_of_the_worker(ros):
    begun, finish = threading.Event(), threading.Event()

    class Slow(Talker):
        def work(self, item):
            begun.set()
            assert finish.wait(10)
            if self.active:
                self.log.append("a command")
            self.log.append("end of work")

    node = ros.start(lambda **kwargs: Slow("talker", **kwargs))
    node.worker.offer(1)
    assert begun.wait(10)
    node.worker.offer(2)
    threading.Timer(0.1, finish.set).start()
    node.shut_down()
    assert node.log[2:] == ["end of work", "deactivate", "teardown"]


def test_an_exception_in_the_worker_is_a_failure_of_the_node(ros):
    node = ros.start(Talker)
    node.worker.offer("poison")
    ros.wait_for(lambda: node.failure, "the failure")
    assert node.failure == "poison in the work"


@pytest.mark.parametrize("qos", [LATCHED, COMMAND], ids=["latched", "volatile"])
def test_a_goal_is_heard_once_from_latched_and_volatile_publishers(ros, qos):
    publisher = ros.probe.create_publisher(String, "goal", qos)
    heard = []

    class Listener(KitNode):
        def configure(self):
            self.create_latched_subscription(String, "goal", heard.append)

    ros.start(lambda **kwargs: Listener("listener", **kwargs))
    count = 2 if qos is LATCHED else 1
    ros.wait_for(lambda: publisher.get_subscription_count() == count, "all readers")
    for expected in range(1, 6):
        publisher.publish(String(data="the same words, said again"))
        ros.wait_for(lambda n=expected: len(heard) >= n, "the goal")
    ros.spin_for(0.2)
    assert len(heard) == 5


def test_a_goal_from_before_is_heard_once(ros):
    publisher = ros.probe.create_publisher(String, "goal", LATCHED)
    publisher.publish(String(data="early"))
    heard = []

    class Listener(KitNode):
        def configure(self):
            self.create_latched_subscription(String, "goal", heard.append)

    ros.start(lambda **kwargs: Listener("listener", **kwargs))
    ros.wait_for(lambda: heard, "the latched goal")
    ros.spin_for(0.2)
    assert [message.data for message in heard] == ["early"]
