"""Asks the station that runs for a fault in its next cycle, through its parameters."""

from __future__ import annotations

import os

import rclpy
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions


class StationError(RuntimeError):
    """No station answered, or it refused; the text says what to do."""


def ask(kind: str, detail: str, namespace: str, wait_s: float) -> None:
    """Sets `next_fault` and `next_detail` of the node `station` in `namespace`.

    Raises:
        StationError: none answered within `wait_s`, or it refused.
    """
    context = rclpy.Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node(f"station_fault_{os.getpid()}", context=context, namespace=namespace)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        client = node.create_client(SetParametersAtomically, "station/set_parameters_atomically")
        if not client.wait_for_service(wait_s):
            raise StationError(
                f"no station runs in namespace {node.get_namespace()}; start one with "
                "./run up station.launch.xml, or give its --namespace"
            )
        wanted = {"next_fault": kind, "next_detail": detail}
        parameters = [Parameter(n, value=v).to_parameter_msg() for n, v in wanted.items()]
        answer = client.call_async(SetParametersAtomically.Request(parameters=parameters))
        executor.spin_until_future_complete(answer, wait_s)
        if not answer.done():
            raise StationError(f"the station did not answer within {wait_s:g} s")
        if not answer.result().result.successful:
            raise StationError(f"the station refused: {answer.result().result.reason}")
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)
