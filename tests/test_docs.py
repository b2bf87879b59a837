"""Documents that can fail: commands exist and have help, paths exist, the printed tree is the disk's."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMED = re.compile(r"(?:^|[\s`(/])dst ((?:cad |catalog |evaluate |import |models |release )?[a-z]+)(?=[\s`,.:]|$)", re.M)
SCREEN = 50
"""Lines that a terminal shows at once."""
DOOR = re.compile(r"One line in `(storage|models)/([\w/]+)\.py`: `(\w+)`(?: or `(\w+)`)?")
COMMANDS = sorted({match for page in PAGES for match in NAMED.findall(page.read_text())})


def dst(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "flows.cli", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_the_documents_name_commands() -> None:
    assert {"demo", "run", "sql", "cad add"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_in_the_documents_exists_and_shows_an_example(command: str) -> None:
    shown = dst(*command.split(), "--help")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert f"Example: dst {command}" in " ".join(shown.stdout.split()), shown.stdout


def test_every_command_has_help_with_an_example() -> None:
    from flows.cli import app

    for name in app:
        if name.startswith("-") or name in ("cad", "catalog", "evaluate", "import", "models", "release"):
            continue
        assert f"Example: dst {name}" in " ".join(dst(name, "--help").stdout.split()), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_path_in_a_document_exists(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()) if "://" not in link]
    named = re.findall(r"`((?:flows|tasks|models|storage|tests|docs)/[\w./-]+)`", page.read_text())
    missing = [link for link in links if not (page.parent / link).exists()] + [
        path for path in named if not (ROOT / path).exists()
    ]
    assert not missing


def additions() -> dict[str, list[str]]:
    """What of the architecture's page says how to add something -> its numbered lines."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    parts = re.split(r"^### (Add an? .+)$", page, flags=re.M)[1:]
    return {name: re.findall(r"^\d\. (.+)$", text, re.M) for name, text in zip(parts[::2], parts[1::2], strict=True)}


@pytest.mark.parametrize("what", additions())
def test_something_is_added_in_six_lines_one_of_which_is_a_line_at_a_door_that_exists(what: str) -> None:
    said = additions()[what]
    assert len(said) == 6
    door = DOOR.search(next(line for line in said if line.startswith("One line in")))
    assert door is not None, said
    module = importlib.import_module(f"{door[1]}.{door[2].replace('/', '.')}")
    for name in filter(None, door.groups()[2:]):
        assert hasattr(module, name), f"{module.__name__} has no {name}"
    assert re.match(r"A new file `\w+\.py` in `(storage|models)/\w+/`", said[0])


def test_the_tree_in_the_readme_is_the_tree_on_disk() -> None:
    listed: set[str] = set()
    where: list[str] = []
    block = README.split("<!-- tree -->")[1].split("```")[1]
    for line in block.strip().splitlines():
        depth, name = (len(line) - len(line.lstrip())) // 2, line.split()[0]
        where = [*where[:depth], name.rstrip("/")]
        listed.add("/".join(where))
    missing = {path for path in listed if not (ROOT / path).exists()}
    assert not missing
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    rooms = {str(Path(path).parent) for path in tracked if re.fullmatch(r"(flows|tasks|models|storage)(/\w+)?/\w+\.py", path)}
    assert rooms <= listed, f"not in the README's tree: {sorted(rooms - listed)}"
    assert len(block.strip().splitlines()) <= SCREEN, "the tree fits one screen: folders, and the files a newcomer needs"


def test_light_commands_import_nothing_heavy() -> None:
    code = """
import sys
import flows.cli, flows.commands.run, flows.commands.ask, flows.commands.demo
heavy = {"prefect", "torch", "diffusers", "transformers", "bpy", "great_expectations", "trimesh", "pandas", "matplotlib"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_package_inits_are_empty() -> None:
    full = [
        path
        for layer in ("flows", "tasks", "models", "storage")
        for path in (ROOT / layer).rglob("__init__.py")
        if path.stat().st_size
    ]
    assert not full


def test_no_flow_bears_the_name_of_a_top_level_package() -> None:
    import importlib.util

    names = [path.stem for path in (ROOT / "flows").glob("*.py") if path.stem != "__init__"]
    code = "import importlib.util, sys; print([name for name in sys.argv[1:] if importlib.util.find_spec(name)])"
    shadowed = subprocess.run([sys.executable, "-I", "-c", code, *names], capture_output=True, text=True, check=True)
    assert importlib.util.find_spec("flows")
    assert shadowed.stdout.strip() == "[]"
