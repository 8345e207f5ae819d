"""``project.yaml``: declares a project's data and describes built-in tools."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from flightloop import plain
from flightloop.errors import ConfigError
from flightloop.tool import ProjectData
from guardrails.yaml_document import YamlDocument
from observability.bounded_yaml import DOCUMENT_BYTES
from tools.knowledge.catalogue import MOST_PRODUCTS

FILE = "project.yaml"
MOST_SYNONYMS = 20
"""Most further names of a product."""
Name = Annotated[str, Field(min_length=1, max_length=100)]
Select = Annotated[str, Field(min_length=1, max_length=4_000)]


class ProjectFile(BaseModel):
    """Contents of ``project.yaml``. Without the file, a project has no data."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    database: Annotated[str, Field(pattern=r"^\w[\w.-]{0,99}$")] | None = None
    """SQLite file in the folder of the tools' data; if it is missing, ``seed.py`` creates it."""
    tables: tuple[str, ...] = Field(default=(), max_length=200)
    """Tables that ``query_sql`` and the other tools for the database may read."""
    products: Select | None = None
    """SELECT that returns id, name, category, price_cents, stock, warranty_months and final_sale."""
    terms: dict[str, Select] = Field(default_factory=dict, max_length=20)
    """SELECTs by kind of name that documents mention, such as branches; each returns a column ``name``."""
    synonyms: dict[Name, Annotated[tuple[Name, ...], Field(max_length=MOST_SYNONYMS)]] = Field(
        default_factory=dict, max_length=MOST_PRODUCTS
    )
    """Other names of products, such as those in other languages, by the product's name."""
    descriptions: dict[str, str] = Field(default_factory=dict)
    """Descriptions of built-in tools for models, by tool name."""

    @model_validator(mode="after")
    def _names_its_database(self) -> ProjectFile:
        if self.products is None and self.synonyms:
            raise ValueError('"synonyms" requires "products": set products to a SELECT for them')
        if self.database is None and (self.tables or self.products or self.terms):
            raise ValueError('"tables", "products" and "terms" require "database": set database to its file')
        return self

    def data(self, folder: Path) -> ProjectData:
        """Description of the data of the project in ``folder``, for the contexts of its tools."""
        terms, synonyms = tuple(self.terms.items()), tuple(self.synonyms.items())
        return ProjectData(folder.resolve(), self.database, self.tables, self.products, terms, synonyms)


def read_project_file(folder: Path) -> ProjectFile:
    """Reads ``project.yaml`` in a project's folder. Raises ConfigError with file, line and field."""
    path = folder / FILE
    if not os.path.lexists(path):
        return ProjectFile()
    document = document_of(path)
    if not isinstance(document.value, dict):
        raise ConfigError(f"{path}: must be a mapping with database, tables, products, terms, synonyms or descriptions")
    try:
        return ProjectFile.model_validate(document.value)
    except ValidationError as error:
        raise document.refused(error, ProjectFile, "project") from error


def document_of(path: Path) -> YamlDocument:
    """A YAML file of a project. Raises ConfigError if it is unreadable or not YAML."""
    try:
        return YamlDocument.parse(plain.read_text(path, DOCUMENT_BYTES), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
