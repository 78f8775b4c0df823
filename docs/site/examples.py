"""Shows `Example:` in docstrings as code; Google's style, which the site's parser follows, knows `Examples:` alone."""

import re
from typing import Any

import griffe


class Examples(griffe.Extension):
    """Reads one as the other."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring as it is read; the source stays as it is."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
