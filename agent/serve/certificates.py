"""Certificates for mutual TLS between the processes of one Ray cluster, created when the cluster starts.

Ray's token does not suffice: a client would send it to any process that has taken the port of a server that ended, and
Ray parses some messages before it checks the token. Certificates on both sides (`RAY_USE_TLS`) prevent both.
"""

from __future__ import annotations

import ipaddress
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from flightloop import private

LIFETIME = timedelta(days=3650)
"""Long enough for any cluster; the certificates are worthless outside it."""
CLOCK = timedelta(days=1)
"""How far the clock may be set back while the cluster runs."""


def make_certificates(folder: Path) -> dict[str, str]:
    """Writes a certificate authority and one certificate signed by it, for all servers and clients.

    Args:
        folder: existing folder that only its owner can read.

    Returns:
        Environment variables that make Ray use the certificates.
    """
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "flightloop cluster")])
    own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "flightloop node")])
    root = (
        _certificate(authority, authority, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    leaf = (
        _certificate(own, authority, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(_names()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private_pem = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    contents = {
        "RAY_TLS_CA_CERT": root.public_bytes(pem),
        "RAY_TLS_SERVER_CERT": leaf.public_bytes(pem),
        "RAY_TLS_SERVER_KEY": private_pem,
    }
    for name, content in contents.items():
        with open(folder / f"{name.lower()}.pem", "wb", opener=private.opener) as file:
            file.write(content)
    return {"RAY_USE_TLS": "1", **{name: str(folder / f"{name.lower()}.pem") for name in contents}}


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK)
        .not_valid_after(now + LIFETIME)
    )


def _names() -> list[x509.GeneralName]:
    addresses = {"127.0.0.1", "::1", *_own_addresses()}
    return [x509.DNSName("localhost"), *(x509.IPAddress(ipaddress.ip_address(one)) for one in sorted(addresses))]


def _own_addresses() -> set[str]:
    """Addresses of this machine's interfaces. Ray picks one of them, whatever the machine's name resolves to."""
    internet = (socket.AF_INET, socket.AF_INET6)
    found = [one for addresses in psutil.net_if_addrs().values() for one in addresses if one.family in internet]
    return {one.address.partition("%")[0] for one in found}
