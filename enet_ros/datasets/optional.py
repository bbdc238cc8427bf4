"""Packages that only some datasets need."""

from __future__ import annotations

import importlib
from types import ModuleType

from enet_ros.errors import DatasetError


def import_optional(module: str, purpose: str, package: str | None = None) -> ModuleType:
    """Import `module`. `purpose` says in the error what needs it, and `package` how to install it, if not by its name.

    Raises:
        DatasetError: its package is not installed.

    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = package or module.partition('.')[0]
        raise DatasetError(f'{purpose} need the package {package}: pip install {package}') from error
