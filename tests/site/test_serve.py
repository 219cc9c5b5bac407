"""`make serve`: the address is printed, and a taken port is a remark rather than a failure."""

import re
import socket
import subprocess
import sys
import urllib.request

from .conftest import ROOT


def start(*arguments: str) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / "book" / "serve.py"), *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def said_until_the_address(server: subprocess.Popen) -> list[str]:
    """The lines printed up to the address, which is the last thing that a server prints."""
    lines = [server.stdout.readline()]
    while lines[-1] and "http://" not in lines[-1]:
        lines.append(server.stdout.readline())
    return lines


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_the_printed_address_shows_the_book(site):
    server = start("--port", str(free_port()))
    try:
        address = re.search(r"http://127\.0\.0\.1:\d+/", said_until_the_address(server)[-1]).group()
        page = urllib.request.urlopen(address + "book/index.html").read().decode()
        assert "Paying Attention" in page
    finally:
        server.terminate()
        server.wait()


def test_a_taken_port_is_named_and_the_next_free_one_used(site):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = start("--port", str(port))
        try:
            *remarks, address = said_until_the_address(server)
            assert f"Port {port} is taken; using" in "".join(remarks)
            assert f":{port}/" not in address
            assert "http://127.0.0.1:" in address
        finally:
            server.terminate()
            server.wait()


def test_a_port_that_cannot_be_is_refused():
    server = start("--port", "70000")
    said, _ = server.communicate()
    assert server.returncode == 2
    assert "must lie in 1..65535; got 70000" in said
