"""What packages offer whose modules are imported on demand."""

from __future__ import annotations

import pickle
from types import ModuleType

import pytest

import agent.api
import flightloop


@pytest.mark.parametrize("package", [flightloop, agent.api])
def test_a_package_lists_and_gives_what_it_exports(package: ModuleType) -> None:
    assert {*package.__all__} <= {*dir(package)}
    for name in package.__all__:
        assert getattr(package, name) is getattr(package, name)
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'Flightlop'"):
        _ = package.Flightlop


def test_the_clients_can_be_pickled_by_name() -> None:
    assert pickle.loads(pickle.dumps(flightloop.Flightloop)) is flightloop.Flightloop
