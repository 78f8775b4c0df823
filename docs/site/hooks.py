"""What the site has beyond the pages in docs/: the README, cut into pages, and the API from the docstrings."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PACKAGE = "rnnlab"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Complete the navigation: a page of the API for every package, and every page of docs/ somewhere."""
    sections = _sections(config)
    sections["API"] += [{_name(folder): _path(folder)} for folder in _packages()]
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
    for folder in _packages():
        files.append(File.generated(config, _path(folder), content=_api(folder)))
    return files


def _sections(config: MkDocsConfig) -> dict[str, list]:
    return {title: entry for item in config.nav or [] for title, entry in item.items()}


def _packages() -> list[Path]:
    """The package itself first, then every one inside it."""
    return sorted(path.parent for path in (ROOT / PACKAGE).rglob("__init__.py"))


def _name(folder: Path) -> str:
    return ".".join(folder.relative_to(ROOT).parts)


def _path(folder: Path) -> str:
    return f"api/{_name(folder)}.md"


def _api(folder: Path) -> str:
    """What a package says of itself, and its modules with everything public in them."""
    name = _name(folder)
    about = f"::: {name}\n    options: {{members: false, show_root_heading: false}}"
    modules = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
    return "\n\n".join([f"# {name}", about, *(f"::: {name}.{module}" for module in modules)])
