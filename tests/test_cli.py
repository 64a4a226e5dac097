"""The list of commands, whose modules are imported when they are called."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from typer.main import get_group

import commands
from cli import MODULES

SHARED = {"terminal"}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_the_commands_that_it_is_listed_with(module: str) -> None:
    assert set(get_group(import_module(module).app).commands) == set(MODULES[module])


def test_no_module_of_commands_is_left_out() -> None:
    found = {path.stem for path in Path(str(commands.__file__)).parent.glob("[a-z]*.py")}
    assert {f"commands.{name}" for name in found - SHARED} == set(MODULES)


@pytest.mark.parametrize(("command", "strangers"), [("worker", ["duckdb", "typst"]), ("catalog", ["faust", "typst"])])
def test_a_command_imports_no_library_of_the_others(command: str, strangers: list[str]) -> None:
    code = f"from cli import app; app(['{command}', '--help'], standalone_mode=False); import sys; print(sorted(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.splitlines()[-1]
    assert "'polars'" in shown
    assert [name for name in strangers if f"'{name}'" in shown] == []
