"""Runs nginx with deploy/nginx.conf in front of an app: TLS with a certificate of its own, on a free port."""

import getpass
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from programs import program
from serving import ROOT, free_port

SITE = ROOT / "deploy" / "nginx.conf"
MAIN = """\
user {user};
daemon off;
pid {home}/nginx.pid;
error_log {home}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    include {home}/site.conf;
}}
"""


@dataclass
class Proxied:
    """A page behind nginx: its public address, without a slash at the end, and the certificate to trust."""

    url: str
    certificate: Path


@contextmanager
def behind_nginx(app_url: str, home: Path, keeps_path: bool = False) -> Iterator[Proxied]:
    """Serve an app under ``https://localhost:PORT/lineup`` for the duration of the block.

    Args:
        app_url: the address of the app, which runs with ``GRADIO_ROOT_PATH=/lineup``.
        home: an empty folder.
        keeps_path: pass the sub-path on to the app, as some proxies do.
    """
    key, certificate, port = home / "privkey.pem", home / "fullchain.pem", free_port()
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    new = (program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject)
    nginx = program("nginx", "/usr/sbin/nginx")
    subprocess.run([*new, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    site = SITE.read_text(encoding="utf-8")
    replaced = {
        "127.0.0.1:7860": app_url.split("//")[1].strip("/"),
        "listen 80;": f"listen 127.0.0.1:{free_port()};",
        "listen 443 ": f"listen 127.0.0.1:{port} ",
        "/etc/letsencrypt/live/example.org": str(home),
        "server_name example.org": "server_name localhost",
    }
    for old, new_text in replaced.items():
        assert old in site, old
        site = site.replace(old, new_text)
    if keeps_path:
        site = site.replace("proxy_pass http://lineup/;", "proxy_pass http://lineup;")
    assert not re.search("(?m)^[^#]*example.org", site)
    (home / "site.conf").write_text(site)
    (home / "nginx.conf").write_text(MAIN.format(home=home, user=getpass.getuser()))
    with (home / "output.txt").open("w") as output:
        command = [nginx, "-p", str(home), "-c", str(home / "nginx.conf")]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait(port, process, home)
        yield Proxied(f"https://localhost:{port}/lineup", certificate)
    finally:
        process.terminate()
        process.wait(20)


def _wait(port: int, process: subprocess.Popen[bytes], home: Path, timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"nginx did not start:\n{(home / 'output.txt').read_text()}")
