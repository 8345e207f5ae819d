"""The example project's data, as tests of the platform read it."""

from __future__ import annotations

from agent.project.project import EMBEDDED
from agent.project.project_file import read_project_file

SHOP = read_project_file(EMBEDDED).data(EMBEDDED)
