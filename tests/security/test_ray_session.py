"""Ray's folders and token are the platform's user's alone."""

from __future__ import annotations

import os
import socket
import ssl
import stat
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest
from cryptography import x509
from ray._private import services

from agent.serve.certificates import make_certificates
from agent.serve.session import CERTIFICATES, FOLDER, MODE, TOKEN, TOKENS, certified, make_private, private_session
from flightloop.errors import ConfigError


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (FOLDER, MODE, *TOKENS, *CERTIFICATES):
        monkeypatch.delenv(name, raising=False)
    # Undone afterwards, too, where the code sets them.
    monkeypatch.setattr(os, "environ", os.environ.copy())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("named", [True, False])
def test_the_folder_is_ours_alone_and_goes_with_the_cluster(tmp_path: Path, named: bool) -> None:
    before = os.umask(0)
    try:
        if named:
            os.environ[FOLDER] = str(tmp_path)
        with private_session():
            folder = Path(os.environ[FOLDER])
            assert folder.parent == (tmp_path if named else Path(tempfile.gettempdir()))
            assert (mode(folder), folder.stat().st_uid) == (0o700, os.geteuid())
            (folder / "ray").mkdir()
        assert not folder.exists()
        assert os.environ.get(FOLDER) == (str(tmp_path) if named else None)
    finally:
        os.umask(before)


def test_each_process_has_a_token_of_its_own_unless_one_is_named(tmp_path: Path) -> None:
    os.environ[FOLDER] = str(tmp_path)
    make_private()
    first = os.environ.pop(TOKEN)
    assert len(first) == 64
    make_private()
    assert os.environ.pop(TOKEN) != first
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(tmp_path / "token")
    make_private()
    assert TOKEN not in os.environ


def test_a_folder_that_others_may_write_is_refused(tmp_path: Path) -> None:
    os.environ[FOLDER] = str(tmp_path)
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigError, match="others can write to"):
        make_private()
    tmp_path.chmod(0o1777)  # as /tmp: nobody removes what is another's
    assert make_private().parent == tmp_path
    os.environ[FOLDER] = str(tmp_path / "none")
    with pytest.raises(ConfigError, match="can't be used"):
        make_private()


@pytest.mark.parametrize("known", [True, False])
def test_only_processes_of_the_same_cluster_get_an_answer(tmp_path: Path, known: bool) -> None:
    """Mutual TLS: an authority for each start, by which servers know clients and clients servers."""
    os.environ[FOLDER] = str(tmp_path)
    make_private()
    authority, certificate, key = (os.environ[name] for name in CERTIFICATES[1:])
    assert mode(Path(key)) == 0o600
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority)
    serving.load_cert_chain(certificate, key)
    serving.verify_mode = ssl.CERT_REQUIRED
    asking = ssl.create_default_context(cafile=authority)
    if known:
        asking.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as threads:
        answered = threads.submit(_answer, listener, serving)
        with socket.create_connection(listener.getsockname()) as line:
            try:
                with asking.wrap_socket(line, server_hostname="127.0.0.1") as client:
                    said = client.recv(5)
            except OSError:
                said = b""
        assert said == (b"hello" if known else b"")
        assert answered.result() is known


def _answer(listener: socket.socket, context: ssl.SSLContext) -> bool:
    line, _ = listener.accept()
    with line:
        try:
            with context.wrap_socket(line, server_side=True) as server:
                server.sendall(b"hello")
                return True
        except ssl.SSLError:
            return False


def test_certificates_are_made_once_a_process_and_go_with_it(tmp_path: Path) -> None:
    """As Ray reads them, and the token."""
    os.environ[FOLDER] = str(tmp_path)
    with certified():
        with private_session():
            first = {name: os.environ[name] for name in (TOKEN, *CERTIFICATES)}
        with private_session():
            assert first == {name: os.environ[name] for name in first}
        folder = Path(first["RAY_TLS_SERVER_KEY"]).parent
        assert mode(folder) == 0o700
    assert not folder.exists()


def test_certificates_that_ray_would_not_see_are_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one part of it read the variables before, and another one reads them later, nobody would answer."""
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    os.environ[MODE] = "token"
    with certified():
        assert not os.environ.keys() & {*CERTIFICATES}


def test_certificates_name_the_address_that_ray_picks(tmp_path: Path) -> None:
    """Whatever the machine's name resolves to, such as 127.0.1.1."""
    picked = services.get_node_ip_address()
    made = x509.load_pem_x509_certificate(Path(make_certificates(tmp_path)["RAY_TLS_SERVER_CERT"]).read_bytes())
    named = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert picked in map(str, named.get_values_for_type(x509.IPAddress))
