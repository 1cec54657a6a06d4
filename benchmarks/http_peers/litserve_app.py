"""LitServe: decoding, forward pass and encoding in worker processes, which the HTTP server feeds through a queue.

python litserve_app.py PORT WORKERS
"""

import sys

import litserve
from network import Network


class Classifier(litserve.LitAPI):
    """One worker: a network of its own."""

    def setup(self, device):
        """Load the network."""
        self._network = Network()

    def decode_request(self, request):
        """Read the image of a form."""
        return self._network.prepared(request["image"].file.read())

    def predict(self, batch):
        """Compute."""
        return self._network.answer(batch)

    def encode_response(self, output):
        """Return the answer as JSON."""
        return {"classes": output}


if __name__ == "__main__":
    port, workers = map(int, sys.argv[1:])
    server = litserve.LitServer(Classifier(api_path="/predict"), accelerator="cpu", workers_per_device=workers)
    server.run(host="127.0.0.1", port=port, num_api_servers=1, generate_client_file=False, log_level="warning")
