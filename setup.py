"""What the package says of itself and only its repository knows: its address, and where links of the README lead."""

import re
import subprocess
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?://|#)([^)\s]+)\)")
"""A link or picture of Markdown that leads to a file of the repository."""


def address() -> str | None:
    """Address on the web of the repository that this is a clone of; None where nothing tells."""
    command = ["git", f"--git-dir={HERE / '.git'}", "remote", "get-url", "origin"]
    try:
        origin = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    found = re.fullmatch(r"(?:https?://(?:[^@/]*@)?|ssh://git@|git@)([\w.-]+)[:/](.+?)(?:\.git)?/?", origin)
    return found and f"https://{found[1]}/{found[2]}"


def described(page: str, where: str | None) -> str:
    """A page as it reads away from its folder: links lead to the repository, or are words where it has no address."""

    def lead(link: re.Match[str]) -> str:
        picture, text, target = link.groups()
        if where is None:
            return "" if picture else text
        return f"{picture}[{text}]({where}/{'raw' if picture else 'blob'}/main/{target})"

    return LINK.sub(lead, page)


if __name__ == "__main__":
    repository = address()
    changes = f"{repository}/blob/main/CHANGELOG.md"
    setup(
        long_description=described((HERE / "README.md").read_text(encoding="utf-8"), repository),
        long_description_content_type="text/markdown",
        project_urls={"Repository": repository, "Changelog": changes} if repository else {},
    )
