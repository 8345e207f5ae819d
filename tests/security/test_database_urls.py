"""Tools are kept away from the database's server, whatever way its URL names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config import Settings
from agent.serve.factories import tools_config
from flightloop.errors import ConfigError

LOCAL = 5432


def kept_from(tmp_path: Path, url: str) -> tuple[set[int], set[tuple[str, int]]]:
    config = tools_config(Settings(home=tmp_path, database_url=url, port=8000))
    return set(config.reserved_ports) - {8000}, set(config.barred_hosts)


@pytest.mark.parametrize(
    ("url", "ports", "hosts"),
    [
        ("postgresql://u@db.internal/d", {LOCAL}, {("db.internal", LOCAL)}),
        ("postgresql://u@db.internal:7000/d", {7000}, {("db.internal", 7000)}),
        ("postgres://u@db.internal:7000/d?port=7001", {7001}, {("db.internal", 7001)}),
        ("postgresql+psycopg://u@/d?host=127.0.0.1&port=55432", {55432}, {("127.0.0.1", 55432)}),
        ("postgresql+asyncpg://u@/d?host=a:1&host=b:2", {1, 2}, {("a", 1), ("a", 2), ("b", 1), ("b", 2)}),
        ("postgresql://u@/d?host=a,b&port=1,2", {1, 2}, {("a", 1), ("a", 2), ("b", 1), ("b", 2)}),
        ("postgresql://u@a/d?hostaddr=10.0.0.7", {LOCAL}, {("a", LOCAL), ("10.0.0.7", LOCAL)}),
        ("postgresql:///d", {LOCAL}, set()),
        ("postgresql:///d?host=/run/postgresql&port=6000", {6000}, set()),
        ("postgresql://u@[fd00::7]:6000/d", {6000}, {("fd00::7", 6000)}),
    ],
)
def test_the_database_is_found_in_every_form_of_its_url(
    tmp_path: Path, url: str, ports: set[int], hosts: set[tuple[str, int]]
) -> None:
    found = kept_from(tmp_path, url)
    assert found[0] >= ports
    assert found[1] == hosts


def test_the_environment_counts_as_it_does_for_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "db.internal")
    monkeypatch.setenv("PGPORT", "7000")
    assert kept_from(tmp_path, "postgresql:///d")[1] == {("db.internal", 7000)}
    monkeypatch.setenv("PGHOSTADDR", "10.0.0.7")
    assert kept_from(tmp_path, "postgresql:///d")[1] == {("db.internal", 7000), ("10.0.0.7", 7000)}


@pytest.mark.parametrize(
    "url", ["postgresql:///d?service=main", "postgresql://u@a/d?port=many", "postgresql:///d?host=a&host=b:x"]
)
def test_a_url_that_does_not_tell_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="FLIGHTLOOP_DATABASE_URL"):
        kept_from(tmp_path, url)
