"""Servers that a benchmark has started end with it, and so do their workers."""

import signal
import subprocess
import sys

import psutil
from waiting import until

SERVER = """
import json, signal, subprocess, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
worker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
worker.stdout.readline()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.dumps({"classes": [], "worker": worker.pid}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
BENCHMARK = """
import sys, time
from pathlib import Path
sys.path[:0] = [sys.argv[1]]
import http_servers, rest

http_servers.STOP_S = 0.5
home = Path(sys.argv[2])
server = http_servers.Server("peer", "", (sys.executable, str(home / "server.py"), "{port}"), home)


def measured(*_):
    with http_servers.running(server, {"jpeg": [home / "image"]}, home / "log.txt") as started:
        worker = http_servers.ask(server.target(started.url, {"jpeg": [home / "image"]}))["worker"]
        print(started.process.pid, worker, flush=True)
        time.sleep(60)


rest.measured = measured
sys.argv[1:] = []
rest.main()
"""


def test_sigterm_of_a_benchmark_ends_its_server_and_a_worker_that_ignores_it(tmp_path, pytestconfig):
    (tmp_path / "server.py").write_text(SERVER)
    (tmp_path / "image").write_bytes(b"x")
    command = [sys.executable, "-c", BENCHMARK, str(pytestconfig.rootpath / "benchmarks"), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as benchmark:
        server, worker = (psutil.Process(int(pid)) for pid in benchmark.stdout.readline().split())
        try:
            assert all(map(is_alive, (server, worker)))
            benchmark.send_signal(signal.SIGTERM)
            assert benchmark.wait(30) == 143
            until(lambda: not any(map(is_alive, (server, worker))))
        finally:
            for process in filter(is_alive, (server, worker)):
                process.kill()


def is_alive(process):
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
