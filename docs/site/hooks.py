"""What the site has beyond the pages in docs/: the README, cut into pages, and the API from the docstrings.

The API is what a user imports: the names in `__all__` of the packages, under just these names, and whatever else
README, docs and notebooks import. The rest is internal.
"""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PACKAGE = "rnnlab"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Complete the navigation: a page of the API for every package, and every page of docs/ somewhere."""
    sections = _sections(config)
    sections["API"] += [{package: _path(package)} for package in public_names()]
    named = set(re.findall(r"[\w/-]+\.md", str(config.nav)))
    sections["How-to"] += sorted(path.name for path in Path(config.docs_dir).glob("*.md") if path.name not in named)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made here: sections of the README that the navigation names, its rest, and the API."""
    start, *parts = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## ")
    readme = {part.partition("\n")[0]: part for part in parts}
    for entry in _sections(config)["How-to"]:
        for title, path in entry.items() if isinstance(entry, dict) else []:
            if path.startswith("how-to/"):
                page = f"# {readme.pop(title)}".replace("](docs/", "](../")
                files.append(File.generated(config, path, content=page))
    rest = "\n## ".join([start, *readme.values()]).replace("](docs/", "](")
    files.append(File.generated(config, "index.md", content=rest))
    for package, names in public_names().items():
        content = "\n\n".join([f"# {package}", _about(package), *(f"::: {name}" for name in names)])
        files.append(File.generated(config, _path(package), content=content))
    return files


def public_names() -> dict[str, list[str]]:
    """Full names of everything public, by the package on whose page they stand: the whole package first."""
    files = [ROOT / PACKAGE / "__init__.py", *sorted((ROOT / PACKAGE).glob("*/__init__.py"))]
    declared = {".".join(file.parent.relative_to(ROOT).parts): _declared(file) for file in files}
    pages = {package: [f"{package}.{name}" for name in names] for package, names in declared.items()}
    for module, name in sorted(set(_imported())):
        package = module
        while package not in declared:  # the package of a room stands with that of its house
            package = package.rpartition(".")[0]
        if name not in {*declared[PACKAGE], *declared[package]}:
            pages[package].append(f"{module}.{name}")
    return {package: names for package, names in pages.items() if names}


def _sections(config: MkDocsConfig) -> dict[str, list]:
    return {title: entry for item in config.nav or [] for title, entry in item.items()}


def _declared(path: Path) -> list[str]:
    """What a package lists in `__all__`, read without importing it."""
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__":
            return ast.literal_eval(statement.value)
    return []


def _imported() -> Iterator[tuple[str, str]]:
    """Module and name of everything that README, docs and notebooks import from the package."""
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "analysis").glob("*.ipynb")]:
        for code in _code(path):
            for node in ast.walk(ast.parse(code)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{PACKAGE}."):
                    yield from ((str(node.module), alias.name) for alias in node.names)


def _code(path: Path) -> list[str]:
    """The Python of a page or a notebook."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    cells = ["".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    return [re.sub(r"^%.*$", "", cell, flags=re.MULTILINE) for cell in cells]


def _path(package: str) -> str:
    return f"api/{package}.md"


def _about(package: str) -> str:
    """What a package says of itself."""
    return f"::: {package}\n    options: {{members: false, show_root_heading: false}}"
