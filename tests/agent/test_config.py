from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.api.auth import Keyring, key_from_file
from agent.config import Settings, load_settings
from agent.store import memory_journal
from flightloop.errors import ConfigError, Unauthorized
from model.config import EDGE, SHIPPED, STANDARD

GOOD = "k" * 16


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("FLIGHTLOOP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("FLIGHTLOOP_HOME", str(tmp_path / "home"))


def test_defaults_and_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FLIGHTLOOP_PORT", "8123")
    monkeypatch.setenv("FLIGHTLOOP_MODEL_URL", "http://127.0.0.1:1/v1/")
    monkeypatch.setenv("FLIGHTLOOP_LOG_LEVEL", "")  # empty is as if not set
    settings = load_settings()
    assert (settings.host, settings.port, settings.log_level) == ("127.0.0.1", 8123, "info")
    assert settings.model_url == "http://127.0.0.1:1/v1"
    assert settings.journal_url == f"sqlite:///{tmp_path / 'home' / 'flightloop.db'}"
    assert load_settings(port=9, host=None).port == 9


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("FLIGHTLOOP_PORT", "abc", "integer"),
        ("FLIGHTLOOP_PORT", "70000", "65535"),
        ("FLIGHTLOOP_MODEL_URL", "localhost:8080", "http"),
        ("FLIGHTLOOP_MODEL_URL", "http://localhost:port/v1", "port"),
        ("FLIGHTLOOP_OTLP_ENDPOINT", "http://:4318", "http"),
        ("FLIGHTLOOP_PROJECT", "/nowhere/at/all", "is not a folder"),
        ("FLIGHTLOOP_MODEL_DTYPE", "float8", "'bfloat16'"),
        ("FLIGHTLOOP_WORKER_CONCURRENCY", "0", "greater than or equal to 1"),
        ("FLIGHTLOOP_HUMAN_COST", "inf", "finite"),
        ("FLIGHTLOOP_TENANT_KEYS", "{no json", "JSON"),
        ("FLIGHTLOOP_TENANT_KEYS", "[1]", "dictionary"),
        ("FLIGHTLOOP_WEBHOOKS", "{no json", "JSON"),
        ("FLIGHTLOOP_WEBHOOKS", "{}", "tuple"),
    ],
)
def test_a_bad_value_is_one_line_with_its_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, says: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert caught.value.message.startswith(f"{variable}: ")
    assert says in caught.value.message
    assert "\n" not in caught.value.message


def test_a_folder_that_is_not_there_is_told_as_it_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLIGHTLOOP_PROJECT", raising=False)
    with pytest.raises(ConfigError) as caught:
        load_settings(project=Path("/nope"))
    assert caught.value.message.endswith("(got '/nope')")


def test_replicas_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLIGHTLOOP_REPLICAS_MIN", "3")
    with pytest.raises(ConfigError, match="FLIGHTLOOP_REPLICAS_MAX"):
        load_settings()


def test_a_secret_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLIGHTLOOP_TENANT_KEYS", '{"a": 17, "b": {"not": "hunter2"}}')
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert "hunter2" not in caught.value.message
    monkeypatch.setenv("FLIGHTLOOP_TENANT_KEYS", "{}")
    for entry in ('"name": "a", "url": "x", "secret": "hunter2"', '"secret": "hunter2"', '"secret": {"a": "hunter2"}'):
        monkeypatch.setenv("FLIGHTLOOP_WEBHOOKS", f"[{{{entry}}}]")
        with pytest.raises(ConfigError, match=r"FLIGHTLOOP_WEBHOOKS\.0\.") as caught:
            load_settings()
        assert "hunter2" not in caught.value.message
    monkeypatch.setenv("FLIGHTLOOP_WEBHOOKS", "[]")
    monkeypatch.setenv("FLIGHTLOOP_API_KEY", "hunter2" * 3)
    assert "hunter2" not in repr(load_settings())


def test_promoted_experts_are_used_unless_others_are_named(tmp_path: Path) -> None:
    promoted = tmp_path / "home" / "experts-edge.safetensors"
    assert load_settings(model=EDGE).experts == SHIPPED[EDGE].path
    promoted.parent.mkdir()
    promoted.touch()
    assert load_settings(model=EDGE).experts == promoted
    assert load_settings(model=STANDARD).experts != promoted
    assert load_settings(model_experts="named.safetensors").experts == Path("named.safetensors")
    assert load_settings(model="folder").experts is None


def test_the_former_name_of_the_default_model_still_works() -> None:
    assert load_settings(model="embedded").model == STANDARD
    assert load_settings().model is None


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().port = 1  # type: ignore[misc]


def test_prices_become_the_business_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLIGHTLOOP_PRICE_PROMPT", "2")
    business = load_settings().observability().business
    assert business.model_cost(1_000_000, 0) == pytest.approx(2)


def test_every_setting_is_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    missing = [name for name in Settings.model_fields if f"`FLIGHTLOOP_{name.upper()}`" not in text]
    assert missing == []


async def test_the_key_file_is_made_once_and_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "new" / "key"
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: key_from_file(path), range(32)))
    assert len(keys) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["key"]
    assert (await load_settings(home=path.parent).keyring().principal(f"Bearer {keys.pop()}")).tenant_id == "default"


def test_a_key_file_that_others_can_read_or_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(GOOD)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        key_from_file(path)
    path.write_text(" \n")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="no API key"):
        key_from_file(path)
    with pytest.raises(ConfigError, match="FLIGHTLOOP_HOME"):
        key_from_file(path / "below" / "a-file")


async def test_the_environments_key_wins_and_tenants_have_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FLIGHTLOOP_API_KEY", GOOD)
    monkeypatch.setenv("FLIGHTLOOP_TENANT_KEYS", f'{{"acme": "{"a" * 16}"}}')
    keyring = load_settings().keyring()
    assert (await keyring.principal(f"Bearer {GOOD}")).tenant_id == "default"
    assert (await keyring.principal(f"bearer  {'a' * 16}")).tenant_id == "acme"
    assert not (tmp_path / "home" / "key").exists()
    monkeypatch.setenv("FLIGHTLOOP_TENANT_KEYS", f'{{"acme": "{GOOD}"}}')
    with pytest.raises(ConfigError, match="another tenant"):
        load_settings().keyring()


OIDC = {
    "OIDC_ISSUER": "https://id.example.com/",
    "OIDC_CLIENT_ID": "flightloop",
    "OIDC_ROLES": '[{"person": "Ann@example.com", "role": "admin"}, {"group": "ops", "role": "approver"}]',
}


def test_persons_log_in_where_an_issuer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLIGHTLOOP_API_KEY", GOOD)
    assert [actor.name for actor in load_settings().keyring().configured("default")] == ["key:default"]
    for name, value in OIDC.items():
        monkeypatch.setenv(f"FLIGHTLOOP_{name}", value)
    deciders = [actor.name for actor in load_settings().keyring().configured("default")]
    assert deciders == ["key:default", "person:ann@example.com", "group:ops"]
    assert load_settings().oidc_issuer == "https://id.example.com/"  # issuers are compared sign by sign


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OIDC_ISSUER", ""),
        ("OIDC_CLIENT_ID", ""),
        ("OIDC_ROLES", ""),
        ("OIDC_ROLES", "[]"),
        ("OIDC_ROLES", "ann"),
        ("OIDC_ROLES", '[{"role": "admin"}]'),
        ("OIDC_ROLES", '[{"person": "ann", "group": "ops", "role": "admin"}]'),
        ("OIDC_ROLES", '[{"person": "*", "role": "owner"}]'),
        ("OIDC_ROLES", '[{"person": "ann lee", "role": "admin"}]'),
        ("OIDC_ROLES", '[{"group": "", "role": "admin"}]'),
        ("OIDC_ROLES", '[{"group": "ops", "role": "admin", "tenant_id": "*"}]'),
        ("OIDC_ROLES", '[{"group": "ops", "role": "admin", "tenant": "acme"}]'),
        ("OIDC_ISSUER", "http://id.example.com"),
        ("OIDC_ISSUER", "id.example.com"),
    ],
)
def test_a_login_that_is_set_up_badly_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    for each, good in OIDC.items():
        monkeypatch.setenv(f"FLIGHTLOOP_{each}", good)
    monkeypatch.setenv(f"FLIGHTLOOP_{name}", value)
    with pytest.raises(ConfigError, match=f"FLIGHTLOOP_{name}"):
        load_settings()


@pytest.mark.parametrize("name", ["default", "*", "", "a b", "a" * 65])
def test_a_name_that_no_tenant_can_have_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("FLIGHTLOOP_TENANT_KEYS", json.dumps({name: "a" * 16}))
    with pytest.raises(ConfigError, match="tenant's name"):
        load_settings().keyring()


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", f"Basic {GOOD}", GOOD, f"Bearer {GOOD}x", "Bearer é"]
)
async def test_what_is_no_key(header: str | None) -> None:
    with pytest.raises(Unauthorized):
        await Keyring({GOOD: "default"}, memory_journal().keys).principal(header)


async def test_without_a_key_the_sender_is_told_where_it_is_in_any_home() -> None:
    with pytest.raises(Unauthorized, match=r"FLIGHTLOOP_API_KEY, or else in the file key of FLIGHTLOOP_HOME: \.flight"):
        await Keyring({GOOD: "default"}).principal(None)


@pytest.mark.parametrize("keys", [{}, {"short": "default"}])
def test_a_keyring_needs_real_keys(keys: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        Keyring(keys)


@pytest.mark.parametrize("key", ["short", "ключ-" + GOOD, "a\nb" + GOOD])
def test_a_key_that_cannot_be_used_is_named_with_its_tenant(key: str) -> None:
    with pytest.raises(ConfigError, match=r"^FLIGHTLOOP_API_KEY: a key needs"):
        Keyring({key: "default"})
    with pytest.raises(ConfigError, match=r"^FLIGHTLOOP_TENANT_KEYS: acme: a key needs"):
        Keyring({GOOD: "default", key: "acme"})


def test_a_key_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"\xff" * 16)
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="printable ASCII"):
        Keyring({key_from_file(file): "default"})


def test_budgets_of_tenants_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().tenants.of("any").tokens is None
    monkeypatch.setenv("FLIGHTLOOP_TENANT_BUDGET", '{"tokens": 10}')
    monkeypatch.setenv("FLIGHTLOOP_TENANT_BUDGETS", '{"big": {"cost": 2.5}}')
    monkeypatch.setenv("FLIGHTLOOP_TENANT_BUDGET_WINDOW", "month")
    tenants = load_settings().tenants
    assert (tenants.of("any").tokens, tenants.of("big").tokens, tenants.of("big").cost) == (10, None, 2.5)
    assert tenants.window == "month"
    monkeypatch.setenv("FLIGHTLOOP_TENANT_BUDGET", '{"token": 10}')
    with pytest.raises(ConfigError, match="FLIGHTLOOP_TENANT_BUDGET"):
        load_settings()


def test_a_password_in_a_url_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLIGHTLOOP_MODEL_URL", "ftp://someone:hidden@host/v1")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert "FLIGHTLOOP_MODEL_URL: must be a URL" in caught.value.message
    assert "hidden" not in caught.value.message
