"""A sketch, to be replaced."""
# ruff: noqa: D100, D101, D102, D103, D105, D107

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ClassMap:
    pass


def read_class_map(path: object) -> ClassMap:
    return ClassMap()
