"""A sketch, to be replaced."""
# ruff: noqa

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ClassMap:
    pass


def read_class_map(path: object) -> ClassMap:
    return ClassMap()
