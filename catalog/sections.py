"""Gathers the top-level sections of all YAML files in a folder; each file may hold any of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from catalog.problems import Place, Problems, did_you_mean
from catalog.yaml_source import read_yaml

LIMIT_SECTIONS = ("commitments", "caps", "pools")
BOOK_SECTIONS = ("meters", "calendars", "plans", "carriers", "taxes", "agreements", *LIMIT_SECTIONS, "examples")
BOOK_SETTINGS = ("zone", "currency")
"""What the files of a price book hold; `examples` are no part of the published book."""


@dataclass
class Sections:
    """Entries by section and single settings, each with the place where it stands."""

    entries: dict[str, list[tuple[object, Place]]]
    settings: dict[str, tuple[object, Place]] = field(default_factory=dict)


def read_sections(folder: Path, lists: Sequence[str], settings: Sequence[str], problems: Problems) -> Sections:
    """Entries of all `*.yaml` and `*.yml` files in the folder, in the order of file names."""
    found = Sections({name: [] for name in lists})
    for path in yaml_files(folder):
        source = read_yaml(path, problems)
        if source is None:
            continue
        root = Place(source)
        if not isinstance(source.data, dict):
            problems.add(root, f"should hold sections like '{lists[0]}:'")
            continue
        for key, data in source.data.items():
            _take(found, key, data, root.at(key), problems)
            if key not in found.entries and key not in settings:
                problems.add(root.at(key), f"is no known section{did_you_mean(key, [*lists, *settings])}", key=True)
    found.settings = {key: value for key, value in found.settings.items() if key in settings}
    return found


def yaml_files(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])


def list_of(data: object, place: Place, problems: Problems) -> Iterable[tuple[object, Place]]:
    """The entries of a list with their places; a mistake when it is something else."""
    if isinstance(data, list):
        return [(item, place.at(index)) for index, item in enumerate(data)]
    if data is None:
        return []
    problems.add(place, "should be a list (lines that start with '- ')")
    return []


def _take(found: Sections, key: str, data: object, place: Place, problems: Problems) -> None:
    if key in found.entries:
        found.entries[key] += list_of(data, place, problems)
    elif key in found.settings:
        problems.add(place, f"is set in {found.settings[key][1]} too; keep one", key=True)
    else:
        found.settings[key] = (data, place)
