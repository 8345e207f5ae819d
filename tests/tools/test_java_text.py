from __future__ import annotations

import pytest

from tools.java_text import main_type, package_of, receiver_of, top_types, without_package

SHAPES = """package com.acme.shapes;

// class Comment { }
sealed interface Shape permits Circle { double area(); String BRACE = "class Text { {"; char C = '{'; }

record Circle(double radius) implements Shape {
    public double area() { return total(1); }
    static double total(int count) { return count; }
    enum Kind { ROUND; static Kind first() { return ROUND; } }
}

public final class Größe<T> {
    java.util.Map<String, int[]> counted(String text) { return null; }
}
"""


def test_types_at_the_top_are_found_with_their_file() -> None:
    assert [(one.kind, one.name, one.public) for one in top_types(SHAPES)] == [
        ("interface", "Shape", False),
        ("record", "Circle", False),
        ("class", "Größe", True),
    ]
    assert main_type(SHAPES) == "Größe"
    assert main_type("class A { }\nclass B { }") == "A"
    assert main_type("int x;") == "Solution"


def test_packages_are_read_and_removed() -> None:
    assert package_of(SHAPES) == "com.acme.shapes"
    assert package_of('// package a;\nclass A { String s = "package b;"; }') is None
    assert package_of(without_package(SHAPES)) is None


@pytest.mark.parametrize(
    ("method", "receiver"),
    [
        ("area", "new Circle()"),  # not the interface, which has no body for it
        ("total", "Circle"),  # the declaration, not the call before it
        ("first", "Circle.Kind"),
        ("counted", "new Größe()"),
        ("missing", "new Größe()"),
    ],
)
def test_methods_are_called_on_the_type_that_declares_them(method: str, receiver: str) -> None:
    assert receiver_of(SHAPES, method) == receiver


def test_unfinished_programs_are_read_too() -> None:
    assert [one.name for one in top_types("class A { void f() { if (x) {")] == ["A"]
    assert receiver_of("class A { static int f(", "f") == "A"
