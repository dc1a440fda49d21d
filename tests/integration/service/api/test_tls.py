"""HTTPS, with a certificate made here."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from tests.integration.service.api.conftest import Edge, port_of
from tests.integration.service.api.wire import Wire, get, post

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


class _TlsWire(Wire):
    def __init__(self, port: int, certificate: Path) -> None:
        context = ssl.create_default_context(cafile=str(certificate))
        plain = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.socket = context.wrap_socket(plain, server_hostname="localhost")
        self.reader = self.socket.makefile("rb")


def test_requests_and_refusals_are_encrypted(
    edge: Edge, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
        "-subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    files = ("-keyout", str(key), "-out", str(certificate))
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    with edge(tls_certificate=certificate, tls_key=key) as (service, _):
        wire = _TlsWire(port_of(service), certificate)
        assert wire.socket.version() == "TLSv1.3"  # type: ignore[attr-defined]
        assert wire.ask(post()).json["user_id"] == "u"
        assert wire.ask(get("/livez")).status == 200
        assert wire.ask(b"no HTTP\r\n\r\n").code == "bad_request"  # answered by the connection
        wire.close()
        with socket.create_connection(("127.0.0.1", port_of(service)), timeout=20) as plain:
            plain.sendall(get("/livez"))
            assert not plain.recv(100).startswith(b"HTTP")
    assert not [record for record in caplog.records if record.exc_info], caplog.text
