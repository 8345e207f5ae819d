"""Public keys that sign tokens, from a JSON Web Key Set (RFC 7517)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

ALGORITHMS: Mapping[str, tuple[str, str | None]] = {
    **{f"{kind}{bits}": ("RSA", None) for kind in ("RS", "PS") for bits in (256, 384, 512)},
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
}
"""Accepted algorithms (RFC 7518), with key type and curve. All are asymmetric: with HMAC, the public key would be the
secret."""
LEAST_BITS = 2048
"""Of an RSA key (RFC 7518, section 3.3)."""
MOST_KEYS = 100


@dataclass(frozen=True)
class SigningKey:
    """A public key of an issuer."""

    kid: str | None
    kind: str
    """``RSA`` or ``EC``."""
    curve: str | None
    algorithm: str | None
    """The only algorithm for which the issuer uses it, if it says so."""
    public: RSAPublicKey | EllipticCurvePublicKey

    def fits(self, algorithm: str) -> bool:
        return ALGORITHMS.get(algorithm) == (self.kind, self.curve) and self.algorithm in (None, algorithm)


def signing_keys(document: Mapping[str, Any]) -> list[SigningKey]:
    """Usable keys of a set. Others are left out: symmetric and private ones, weak ones, ones for encryption, and those
    that share an id.

    Raises:
        ValueError: the document is not a set, or has no usable key.
    """
    listed = document.get("keys")
    if not isinstance(listed, list) or len(listed) > MOST_KEYS:
        raise ValueError(f"'keys' must be a list of at most {MOST_KEYS} keys")
    found = [key for entry in listed if isinstance(entry, dict) and (key := _key(entry))]
    ids = Counter(key.kid for key in found)
    unique = [key for key in found if ids[key.kid] == 1]
    if not unique:
        raise ValueError("it has no usable key: RSA of 2048 bits or more, or EC on P-256, P-384 or P-521")
    return unique


def _key(entry: dict[str, Any]) -> SigningKey | None:
    kind, curve, kid, algorithm = (entry.get(name) for name in ("kty", "crv", "kid", "alg"))
    if (kind, curve if kind == "EC" else None) not in ALGORITHMS.values():
        return None
    uses = entry.get("key_ops", ["verify"])
    if "d" in entry or entry.get("use", "sig") != "sig" or not isinstance(uses, list) or "verify" not in uses:
        return None
    if not isinstance(kid, str | None) or not isinstance(algorithm, str | None):
        return None
    try:
        public = jwt.PyJWK.from_dict(entry, "RS256" if kind == "RSA" else _algorithm_of(curve)).key
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    if not isinstance(public, RSAPublicKey | EllipticCurvePublicKey):
        return None
    if isinstance(public, RSAPublicKey) and public.key_size < LEAST_BITS:
        return None
    return SigningKey(kid, str(kind), curve if kind == "EC" else None, algorithm, public)


def _algorithm_of(curve: object) -> str:
    return next(name for name, (_, found) in ALGORITHMS.items() if found == curve)
