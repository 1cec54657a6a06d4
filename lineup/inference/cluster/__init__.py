"""A Ray cluster that computes the answers; page, command line and HTTP API stay in a process in front of it.

Ray is imported by functions only: a config without a cluster does not need it. The process in front does not import
it at all: Ray ends a process that has lost its cluster for a minute. A *broker*, a process of its own, is connected to
the cluster, and is started again when it ends.

- `replica`: a process of the cluster that answers, with an engine, a pool and a queue of its own
- `deployment`: how many of them there are, what each is given, and how it is found that one hangs
- `connection`: connects a process to a cluster
- `broker`: the process between the page and the cluster · `link`: starts it, and sends it requests
- `client`: a backbone that the cluster computes
- `status`: what each replica does
"""

APPLICATION = "lineup"  # the name of the application of Ray Serve
DEPLOYMENT = "Replica"
ONGOING = 2  # requests of a replica at the same time: one computes while another one is decoded
EXTRA = "pip install -r requirements-cluster.txt"
COMMAND = "python -m lineup cluster up"
