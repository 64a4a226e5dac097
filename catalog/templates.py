"""Ready-made workspaces by industry: a price book and a roster to copy and change."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files
from pathlib import Path

from catalog.problems import did_you_mean
from schemas.errors import BadInput, Refused

COPIED = ("catalog", "roster", "README.md")


def template_names() -> list[str]:
    """Names as `boss init --template` takes them, sorted."""
    return sorted(entry.name.replace("_", "-") for entry in (files("catalog") / "templates").iterdir() if entry.is_dir())


def copy_template(name: str, folder: Path) -> None:
    """Copies the template's `catalog/`, `roster/` and README.md into the folder; overwrites nothing.

    Raises:
        BadInput: There is no such template.
        Refused: One of them stands in the folder already.
    """
    names = template_names()
    if name not in names:
        raise BadInput(f"There is no template '{name}'{did_you_mean(name, names)}")
    existing = [str(folder / part) for part in COPIED if (folder / part).exists()]
    if existing:
        raise Refused(f"{', '.join(existing)} exists already and is not overwritten. Choose an empty folder.")
    folder.mkdir(parents=True, exist_ok=True)
    with as_file(files("catalog") / "templates" / name.replace("-", "_")) as template:
        for part in COPIED:
            if (template / part).is_dir():
                shutil.copytree(template / part, folder / part, copy_function=shutil.copyfile)
            else:
                shutil.copyfile(template / part, folder / part)
