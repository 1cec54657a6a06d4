"""Ray Serve: replicas in processes of their own behind its HTTP proxy.

python ray_app.py PORT REPLICAS
"""

import sys
import time

import ray
from network import Network
from ray import serve
from starlette.requests import Request


@serve.deployment(max_ongoing_requests=100, ray_actor_options={"num_cpus": 0.5})
class Classifier:
    """One replica: a network of its own."""

    def __init__(self) -> None:
        self._network = Network()

    async def __call__(self, request: Request) -> list[dict]:
        """Classify the image that is the body."""
        return self._network.answer(self._network.prepared(await request.body()))


if __name__ == "__main__":
    port, replicas = map(int, sys.argv[1:])
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(Classifier.options(num_replicas=replicas).bind(), route_prefix="/predict")
    while True:
        time.sleep(1)
