"""Structured answers that clients ask for. Needs pydantic, which their environments have."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, field_validator


class Address(BaseModel):
    city: str
    country: str


class Person(BaseModel):
    """A person."""

    name: str
    age: int
    address: Address


class Capitals(BaseModel):
    """A name whose first version the client refuses, so that it asks again."""

    name: str

    @field_validator("name")
    @classmethod
    def _upper(cls, name: str) -> str:
        if not name.isupper():
            raise ValueError("write the name in capital letters")
        return name


class Circle(BaseModel):
    kind: Literal["circle"]
    radius: float


class Square(BaseModel):
    kind: Literal["square"]
    side: float


class Drawing(BaseModel):
    """A drawing."""

    shape: Circle | Square = Field(discriminator="kind")
