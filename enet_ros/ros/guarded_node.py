"""A lifecycle node that no request and no message can stop."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.service import Service
from rclpy.subscription import Subscription

from enet_ros.errors import described, quoted
from enet_ros.ros.log import LogThrottle

_MOST_ITEMS = 1000
"""Length of a request, such as the names of parameters to get. The node has fewer than 200 parameters with four cameras."""


class GuardedNode(LifecycleNode):
    """Logs the exceptions of its subscriptions and services, throttled. A service that fails gives an empty response.

    rclpy (7.1.6) itself raises for some messages, such as a /clock before 0. Its SingleThreadedExecutor passes the exception
    on; its EventsExecutor also logs each one with the traceback, without limit.
    """

    def __init__(self, name: str, **options: Any) -> None:  # noqa: ANN401 - those of rclpy
        """Create the node with the options of rclpy."""
        super().__init__(name, **options)
        self.log_error = LogThrottle(self.get_logger().error)
        """Logs each kind of error at most once in 5 s."""
        # the only one that create_service does not make and that reads its request
        self._service_change_state.callback = self._guarded(self._change_or_refuse(self._service_change_state.callback))

    def create_subscription(
        self, kind: type, topic: str, callback: Callable[[Any], object], *options: Any, **named: Any  # noqa: ANN401
    ) -> Subscription:
        """Subscribe as rclpy does, with the exceptions of `callback` logged. rclpy subscribes to /clock with it, too."""
        return super().create_subscription(kind, topic, self._guarded(callback), *options, **named)

    def create_service(
        self, kind: type, name: str, callback: Callable[[Any, Any], object], *options: Any, **named: Any  # noqa: ANN401
    ) -> Service:
        """Create a service as rclpy does, with the exceptions of `callback` logged. Those of parameters use it, too."""
        return super().create_service(kind, name, self._guarded(self._limited(name, callback)), *options, **named)

    def _guarded(self, callback: Callable[..., object]) -> Callable[..., object]:
        @wraps(callback)  # rclpy inspects the signature
        def guarded(*arguments: object) -> object:
            try:
                return callback(*arguments)
            except Exception as error:
                self.log_error(f'callback failed: {described(error)}')
                return arguments[-1]  # the response of a service

        return guarded

    def _limited(self, name: str, callback: Callable[[Any, Any], object]) -> Callable[[Any, Any], object]:
        """Return `callback` with an empty response to a request that is too long: the same thread receives the images."""
        def limited(request: Any, response: Any) -> object:  # noqa: ANN401 - has no types
            lists = [field for field, kind in request.get_fields_and_field_types().items() if kind.startswith('sequence')]
            if any(len(getattr(request, field)) > _MOST_ITEMS for field in lists):
                self.log_error(f'request to {name} refused: it has more than {_MOST_ITEMS} items')
                return response
            return callback(request, response)

        return limited

    def _change_or_refuse(self, change_state: Callable[[Any, Any], object]) -> Callable[[Any, Any], object]:
        """Return the callback of change_state that refuses what the state does not have. rcl logs that without limit."""
        def change_or_refuse(request: Any, response: Any) -> object:  # noqa: ANN401 - lifecycle_msgs, which has no types
            wanted = request.transition
            # each is (id, label, ...); a label has priority, as in rclpy
            available = {item[1 if wanted.label else 0] for item in self._state_machine.available_transitions}
            if (wanted.label or wanted.id) in available:
                return change_state(request, response)
            name, state = quoted(wanted.label or str(wanted.id)), self._state_machine.current_state[1]
            self.log_error(f'cannot change state: transition {name} is not possible in state {state}')
            response.success = False
            return response

        return change_or_refuse
