"""The HTTP API below /v1."""

REST = "rest"  # the kind of clients, which takes turns with others in the queue
