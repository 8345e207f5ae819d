"""Identity tokens of an OpenID Connect issuer as keys of the API: who gets which role, and what is refused."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as rsa_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from agent.api.auth import DEFAULT_TENANT
from agent.api.oidc import Issuer, OidcPersons, PersonRule, TokenVerifier, trusted
from agent.api.oidc import issuer as issuer_module
from agent.api.oidc.signing_key import signing_keys
from agent.testing.oidc import CLIENT_ID, Account, OidcProvider, PrivateKey
from flightloop.errors import IssuerUnavailable, Unauthorized
from flightloop.keys import Role

ANN, BOB, EVE = "ann@example.com", "bob@example.com", "eve@example.com"
ROLES = [
    PersonRule(person=ANN, role=Role.APPROVER),
    PersonRule(group="ops", role=Role.OPERATOR, tenant_id="acme"),
    PersonRule(group="all", role=Role.VIEWER),
]
HOUR = 3600
FIRST, OWN = PrivateKey("key-1"), PrivateKey("own")
"""The issuer's key, and an attacker's."""


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def shared() -> Iterator[OidcProvider]:
    accounts = [Account(ANN, ["all"]), Account(BOB, ["all", "ops"]), Account(EVE, [])]
    with OidcProvider(accounts) as running:
        yield running


@pytest.fixture
def provider(shared: OidcProvider) -> OidcProvider:
    """With a key and answers as they are at its start."""
    shared.key = FIRST
    shared.published, shared.metadata = [FIRST.public], {}
    shared.asked.clear()
    return shared


def persons_of(provider: OidcProvider, clock: Callable[[], float] = time.monotonic, **options: Any) -> OidcPersons:
    verifier = TokenVerifier(Issuer(provider.issuer, clock), CLIENT_ID, 12 * HOUR)
    return OidcPersons(verifier, options.pop("rules", ROLES), **options)


@pytest.fixture(scope="module")
def persons(shared: OidcProvider) -> OidcPersons:
    """With keys that are read once, because its clock stands still."""
    return persons_of(shared, Clock())


def signed(provider: OidcProvider, claims: dict[str, Any], **header: Any) -> str:
    return jwt.encode(claims, provider.key.key, "RS256", headers={"kid": provider.key.kid, **header})


async def test_a_person_has_the_role_of_the_first_rule_that_fits(provider: OidcProvider, persons: OidcPersons) -> None:
    ann = await persons.principal(provider.id_token("ann@example.com"))
    assert (ann.name, ann.role, ann.tenant_id) == ("person:ann@example.com", Role.APPROVER, DEFAULT_TENANT)
    assert (ann.actor.kind, ann.deployment, ann.key[:7]) == ("person", False, "person_")
    bob = await persons.principal(provider.id_token(BOB))
    assert (bob.name, bob.role, bob.tenant_id) == ("person:bob@example.com", Role.OPERATOR, "acme")
    assert bob.key != ann.key


async def test_a_person_stays_the_same_one_under_another_address(provider: OidcProvider, persons: OidcPersons) -> None:
    before = await persons.principal(provider.id_token(ANN))
    after = await persons.principal(provider.id_token(ANN, email="Ann.Lee@example.com"))
    assert after.key == before.key
    assert after.name == "person:ann.lee@example.com"
    assert after.role is Role.VIEWER  # the rule of a person names the address


CLAIMS: list[tuple[str, dict[str, Any], str]] = [
    ("unknown", {"email": "mallory@example.com", "groups": ["other"]}, "has no role here"),
    ("no groups", {"email": "mallory@example.com", "groups": None}, "has no role here"),
    ("groups of another form", {"email": "mallory@example.com", "groups": {"all": True}}, "has no role here"),
    ("a part of a group", {"email": "mallory@example.com", "groups": "all,ops"}, "has no role here"),
    ("unverified", {"email_verified": False}, "has not verified"),
    ("nothing about verification", {"email_verified": None}, "has not verified"),
    ("verified in words", {"email_verified": "true"}, "has not verified"),
    ("no address", {"email": None}, "'email' must be"),
    ("two addresses", {"email": [ANN, EVE]}, "'email' must be"),
    ("an address that looks alike", {"email": "аnn@example.com"}, "'email' must be"),
    ("an address with a line break", {"email": f"{ANN}\n"}, "'email' must be"),
    ("an invisible sign", {"email": f"{ANN}\u200b"}, "'email' must be"),
    ("another audience", {"aud": "other"}, "another application"),
    ("a longer audience", {"aud": f"{CLIENT_ID}-2"}, "another application"),
    ("further audiences", {"aud": [CLIENT_ID, "other"]}, "also for other applications"),
    ("no audience", {"aud": None}, "aud"),
    ("an empty audience", {"aud": []}, "aud"),
    ("another party", {"azp": "other"}, "issued to another"),
    ("another issuer", {"iss": "https://id.example.com"}, "another issuer"),
    ("no issuer", {"iss": None}, "iss"),
    ("issuers", {"iss": ["https://id.example.com"]}, "another issuer"),
    ("expired", {"exp": int(time.time()) - 60}, "has expired"),
    ("no expiry", {"exp": None}, "exp"),
    ("an expiry in words", {"exp": "tomorrow"}, "'exp' must be"),
    ("an expiry of true", {"exp": True}, "'exp' must be"),
    ("an endless expiry", {"exp": float("inf")}, "'exp' must be"),
    ("no number", {"exp": float("nan")}, "'exp' must be"),
    ("issued long ago", {"iat": int(time.time()) - 13 * HOUR, "exp": int(time.time()) + HOUR}, "longer than is"),
    ("issued in the future", {"iat": int(time.time()) + HOUR, "exp": int(time.time()) + 2 * HOUR}, "not valid yet"),
    ("not before", {"nbf": int(time.time()) + HOUR}, "not valid yet"),
    ("no time of issue", {"iat": None}, "iat"),
    ("no subject", {"sub": None}, "sub"),
    ("an empty subject", {"sub": ""}, "sub"),
    ("a logout token", {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}, "not an identity token"),
]


@pytest.mark.parametrize(("changed", "why"), [case[1:] for case in CLAIMS], ids=[case[0] for case in CLAIMS])
async def test_claims_that_are_refused(
    provider: OidcProvider, persons: OidcPersons, changed: dict[str, Any], why: str
) -> None:
    with pytest.raises(Unauthorized) as refused:
        await persons.principal(provider.id_token(ANN, **changed))
    assert why in str(refused.value)


def raw(header: dict[str, Any], claims: dict[str, Any], secret: bytes | None = None) -> str:
    """A token made by hand, signed with HMAC if there is a secret."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims)]
    body = ".".join(parts)
    mac = hmac.new(secret, body.encode(), hashlib.sha256).digest() if secret is not None else b""
    return f"{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def pem(provider: OidcProvider) -> bytes:
    return provider.key.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


FORGERIES: list[tuple[str, Callable[[OidcProvider], str]]] = [
    ("alg none", lambda p: raw({"alg": "none", "kid": "key-1"}, p.claims(ANN))),
    ("alg None", lambda p: raw({"alg": "NonE", "kid": "key-1"}, p.claims(ANN))),
    ("no alg", lambda p: raw({"kid": "key-1"}, p.claims(ANN))),
    ("algs", lambda p: raw({"alg": ["RS256"], "kid": "key-1"}, p.claims(ANN))),
    ("HMAC with the public key", lambda p: raw({"alg": "HS256", "kid": "key-1"}, p.claims(ANN), pem(p))),
    (
        "HMAC with the published key",
        lambda p: raw({"alg": "HS256", "kid": "key-1"}, p.claims(ANN), json.dumps(p.published[0]).encode()),
    ),
    ("HMAC with nothing", lambda p: raw({"alg": "HS256", "kid": "key-1"}, p.claims(ANN), b"")),
    ("no signature", lambda p: p.id_token(ANN).rpartition(".")[0] + "."),
    ("another key of that id", lambda p: jwt.encode(p.claims(ANN), OWN.key, "RS256", headers={"kid": "key-1"})),
    ("a key of its own", lambda p: jwt.encode(p.claims(ANN), OWN.key, "RS256", headers={"kid": "own"})),
    ("a key in the header", lambda p: jwt.encode(p.claims(ANN), OWN.key, "RS256", headers={"jwk": OWN.public})),
    (
        "an address of keys in the header",
        lambda p: jwt.encode(p.claims(ANN), OWN.key, "RS256", headers={"kid": "own", "jku": f"{p.issuer}/mine"}),
    ),
    ("other claims", lambda p: spliced(p.id_token(EVE), p.id_token(ANN))),
    ("an extension", lambda p: signed(p, p.claims(ANN), crit=["b64"], b64=True)),
    ("an access token", lambda p: signed(p, p.claims(ANN), typ="at+jwt")),
    ("a logout token", lambda p: signed(p, p.claims(ANN), typ="logout+jwt")),
    ("a number as key id", lambda p: raw({"alg": "RS256", "kid": 1}, p.claims(ANN))),
    ("dots", lambda _: ".."),
    ("no base64", lambda _: "é.é.é"),
    ("a deep header", lambda _: base64.urlsafe_b64encode(b"[" * 10_000).decode() + ".e30.e30"),
    ("a long one", lambda p: p.id_token(ANN, padding="x" * 20_000)),
]


def spliced(token: str, other: str) -> str:
    """The signature of one token under the claims of another one."""
    return f"{other.rpartition('.')[0]}.{token.rpartition('.')[2]}"


@pytest.mark.parametrize("forged", [case[1] for case in FORGERIES], ids=[case[0] for case in FORGERIES])
async def test_forged_tokens_are_refused(
    provider: OidcProvider, persons: OidcPersons, forged: Callable[[OidcProvider], str]
) -> None:
    assert (await persons.principal(provider.id_token(ANN))).role is Role.APPROVER
    with pytest.raises(Unauthorized):
        await persons.principal(forged(provider))


@pytest.fixture(scope="module")
def refuse(persons: OidcPersons) -> Iterator[Callable[[str], None]]:
    """Asserts that a token is refused."""

    def refused(token: str) -> None:
        with pytest.raises(Unauthorized):
            runner.run(persons.principal(token))

    with asyncio.Runner() as runner:
        yield refused


@settings(max_examples=50)
@given(data=st.data())
def test_no_changed_character_leaves_a_token_valid(
    shared: OidcProvider, refuse: Callable[[str], None], data: st.DataObject
) -> None:
    """But for the last one, some of whose bits no decoder reads."""
    token = jwt.encode(shared.claims(ANN), FIRST.key, "RS256", headers={"kid": "key-1"})
    at = data.draw(st.integers(0, len(token) - 2))
    sign = data.draw(st.sampled_from("ABCXYZabcxyz0189-_.").filter(lambda sign: sign != token[at]))
    refuse(token[:at] + sign + token[at + 1 :])


@settings(max_examples=50)
@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_any_text_is_refused_in_words(refuse: Callable[[str], None], head: str, body: str, mac: str) -> None:
    refuse(f"{head}.{body}.{mac}")


async def test_new_keys_are_read_and_withdrawn_ones_forgotten(provider: OidcProvider) -> None:
    clock = Clock()
    persons = persons_of(provider, clock)
    old = provider.id_token(ANN)
    await persons.principal(old)
    provider.rotate("key-2")
    clock.now += issuer_module.AGAIN_S
    await persons.principal(provider.id_token(ANN))
    with pytest.raises(Unauthorized, match="not signed with a key of its issuer"):
        await persons.principal(old)


async def test_a_withdrawn_key_works_for_minutes_at_most(provider: OidcProvider) -> None:
    clock = Clock()
    persons = persons_of(provider, clock)
    old = provider.id_token(ANN)
    await persons.principal(old)
    provider.rotate("key-2")
    clock.now += issuer_module.FRESH_S
    with pytest.raises(Unauthorized):
        await persons.principal(old)


async def test_unknown_keys_do_not_make_the_issuer_busy(provider: OidcProvider) -> None:
    persons = persons_of(provider, Clock())
    for number in range(20):
        with pytest.raises(Unauthorized):
            await persons.principal(jwt.encode({}, OWN.key, "RS256", headers={"kid": f"own-{number}"}))
    assert provider.asked.count("/keys") == 1
    await persons.principal(provider.id_token(ANN))


async def test_the_keys_outlive_a_pause_of_the_issuer_for_an_hour(provider: OidcProvider) -> None:
    clock = Clock()
    persons, token = persons_of(provider, clock), provider.id_token(ANN)
    await persons.principal(token)
    provider.metadata = {"issuer": "https://elsewhere.example.com"}
    clock.now += issuer_module.STALE_S
    await persons.principal(token)
    clock.now += 1
    with pytest.raises(IssuerUnavailable, match="can't be read"):
        await persons.principal(token)


METADATA = [
    {"issuer": "https://elsewhere.example.com"},
    {"issuer": None},
    {"jwks_uri": None},
    {"jwks_uri": "http://id.example.com/keys"},
    {"jwks_uri": "file:///etc/passwd"},
]


@pytest.mark.parametrize("changed", METADATA)
async def test_metadata_that_are_refused(provider: OidcProvider, changed: dict[str, Any]) -> None:
    provider.metadata = changed
    with pytest.raises(IssuerUnavailable):
        await persons_of(provider).principal(provider.id_token(ANN))


async def test_nobody_logs_in_while_the_issuer_is_away() -> None:
    with OidcProvider([Account(ANN)]) as gone:
        token = gone.id_token(ANN)
    with pytest.raises(IssuerUnavailable):
        await persons_of(gone).principal(token)


def ec(curve: Any, kid: str = "ec") -> tuple[Any, dict[str, Any]]:
    key = generate_private_key(curve)
    return key, {**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig"}


async def test_elliptic_curves_are_for_their_own_algorithm(provider: OidcProvider) -> None:
    key, public = ec(SECP256R1())
    provider.published = [public, provider.key.public]
    claims, persons = provider.claims(ANN), persons_of(provider)
    await persons.principal(jwt.encode(claims, key, "ES256", headers={"kid": "ec"}))
    for kid, algorithm, other in [("key-1", "ES256", key), ("ec", "RS256", provider.key.key), ("ec", "ES384", None)]:
        signing = other or ec(SECP384R1())[0]
        with pytest.raises(Unauthorized):
            await persons.principal(jwt.encode(claims, signing, algorithm, headers={"kid": kid}))


async def test_a_key_without_an_id_must_be_the_only_one(provider: OidcProvider) -> None:
    token = jwt.encode(provider.claims(ANN), provider.key.key, "RS256")
    await persons_of(provider).principal(token)
    provider.published = [provider.key.public, OWN.public]
    with pytest.raises(Unauthorized):
        await persons_of(provider).principal(token)


def test_keys_that_are_left_out() -> None:
    weak = {**RSAAlgorithm.to_jwk(rsa_key(65537, 1024).public_key(), as_dict=True), "kid": "weak"}
    good = OWN.public
    private = {**RSAAlgorithm.to_jwk(OWN.key, as_dict=True), "kid": "private"}
    left_out: list[Any] = [
        weak,
        private,
        {**good, "kid": "enc", "use": "enc"},
        {**good, "kid": "ops", "key_ops": ["encrypt"]},
        {**good, "kid": "null", "key_ops": None},
        {**good, "kid": "number", "key_ops": 1},
        {**good, "kid": 1},
        {**good, "kid": "twice"},
        {**good, "kid": "twice"},
        {**good, "kid": "broken", "n": "!"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "oct"},
        {"kty": "EC", "crv": "secp256k1", "kid": "koblitz"},
        {"kty": ["RSA"], "kid": "list"},
        {},
        "key",
    ]
    assert [key.kid for key in signing_keys({"keys": [*left_out, good]})] == ["own"]
    for keys in (left_out, [], None, {}, [good] * 101):
        with pytest.raises(ValueError, match="key"):
            signing_keys({"keys": keys})


@pytest.mark.parametrize("url", ["https://id.example.com", "http://127.0.0.1:80", "http://[::1]/a", "http://localhost"])
def test_addresses_that_are_trusted(url: str) -> None:
    assert trusted(url) == url


@pytest.mark.parametrize(
    "url",
    ["http://id.example.com", "http://localhost.example.com", "http://10.0.0.1", "https://", "https://a@b", "ftp://a"],
)
def test_addresses_that_are_not_trusted(url: str) -> None:
    with pytest.raises(ValueError, match="https"):
        trusted(url)


async def test_another_claim_can_be_the_name(provider: OidcProvider) -> None:
    """For issuers that verify no addresses, and whose admins alone give names."""
    rules = [PersonRule(person="Ann.Lee", role=Role.ADMIN)]
    persons = persons_of(provider, rules=rules, name_claim="login", groups_claim="teams")
    found = await persons.principal(provider.id_token(ANN, login="ann.LEE", email_verified=False))
    assert (found.name, found.role) == ("person:ann.lee", Role.ADMIN)
