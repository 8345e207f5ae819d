"""Keys of the audit log: kept in a private file, told apart without being shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from flightloop.errors import ConfigError
from guardrails.audit_keys import AuditKey, FixedKeys, KeyFile, keys_of


def test_a_key_signs_for_one_purpose_and_is_never_shown() -> None:
    key, other = AuditKey(b"a" * 32), AuditKey(b"b" * 32)
    mac = key.mac("audit record", "text")
    assert key.signed(mac, "audit record", "text")
    for signer, purpose, text, given in [
        (other, "audit record", "text", mac),
        (key, "audit checkpoint", "text", mac),
        (key, "audit record", "other", mac),
        (key, "audit record", "text", None),
        (key, "audit record", "text", "ä"),
    ]:
        assert not signer.signed(given, purpose, text)
    assert key.id != other.id
    for shown in (repr(key), str(FixedKeys((key,))), key.id):
        assert "a" * 32 not in shown
        assert key.secret.hex() not in shown


def test_the_file_is_private_made_once_and_read_again_when_it_changes(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "home" / "audit-key")
    assert file.ring() == ()
    file.create()
    [first] = file.ring()
    file.create()
    assert list(file.ring()) == [first]
    assert file.path.stat().st_mode & 0o777 == 0o600
    elsewhere = KeyFile(file.path)
    assert list(elsewhere.ring()) == [first]
    second = AuditKey.new()
    file.add(second)
    assert list(file.ring()) == list(elsewhere.ring()) == [first, second]
    assert [path.name for path in file.path.parent.iterdir()] == ["audit-key"]
    file.path.chmod(0o644)
    with pytest.raises(ConfigError, match="others can read the audit keys"):
        KeyFile(file.path).ring()


def test_keys_stay_in_use_while_the_home_is_unavailable(tmp_path: Path) -> None:
    home = tmp_path / "home"
    file = KeyFile(home / "audit-key")
    file.create()
    [first] = file.ring()
    home.rename(tmp_path / "away")
    home.symlink_to(home)  # a loop: stat fails with ELOOP
    assert list(file.ring()) == [first]
    with pytest.raises(ConfigError, match="the audit keys cannot be read"):
        KeyFile(file.path).ring()
    home.unlink()
    home.touch()  # no folder
    assert list(file.ring()) == [first]


@pytest.mark.parametrize("text", ["", "secret", "ab" * 31, "AB" * 32, "ab" * 32 + " " + "zz" * 32])
def test_a_bad_key_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ConfigError, match=r"FLIGHTLOOP_AUDIT_KEY: key [12] is not valid") as told:
        keys_of(text, "FLIGHTLOOP_AUDIT_KEY")
    assert not text or text not in told.value.message


def test_several_keys_keep_their_order() -> None:
    one, two = "ab" * 32, "cd" * 64
    assert [key.secret.hex() for key in keys_of(f"{one},{two}\n", "x")] == [one, two]
