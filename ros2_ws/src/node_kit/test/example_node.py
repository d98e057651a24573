"""A small real node for the tests of `run`: counts, watches a heartbeat, says goodbye."""

from dataclasses import dataclass

from node_kit.lifecycle import KitNode, run
from node_kit.parameters import parameter
from node_kit.qos import LATCHED
from std_msgs.msg import String


@dataclass
class ExampleParameters:
    fault: str = parameter(
        "", "where it breaks", choices=("", "configure", "timer", "worker", "teardown")
    )


class ExampleNode(KitNode):
    Parameters = ExampleParameters

    def __init__(self, name="example", **kwargs):
        super().__init__(name, **kwargs)

    def configure(self):
        self.state = self.create_publisher(String, "state", LATCHED)
        self.worker = self.create_worker(self.work, "work")
        if self.p.fault == "configure":
            raise RuntimeError("the model folder models/x is missing; run ./run train")

    def activate(self):
        self.state.publish(String(data="running"))
        self.create_timer(0.05, self.beat)

    def deactivate(self):
        self.state.publish(String(data="stopped"))

    def teardown(self):
        if self.p.fault == "teardown":
            raise RuntimeError("the door is stuck")

    def beat(self):
        if not self.state.get_subscription_count():
            return  # break when somebody hears the last word
        if self.p.fault == "timer":
            raise RuntimeError("the clock broke")
        self.worker.offer(None)

    def work(self, item):
        if self.p.fault == "worker":
            raise RuntimeError("the work broke")


def main():
    run(ExampleNode, lambda: ExampleNode("second"))


if __name__ == "__main__":
    main()
