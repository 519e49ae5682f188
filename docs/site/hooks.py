"""What the build of the site does beyond the pages in docs/: pages of the root, generated references, files that pages link to."""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from properdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
OF_THE_ROOT = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
"""Pages of the root, and where they stand in the site."""
EXAMPLES = "files/examples.md"
LINK = re.compile(r"(\]\()([^)#\s:]+)([)#])")
"""A link to a file: what is before it, its target, and what ends that."""


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of the root, the references that are made of the program, and the files that any page links to."""
    sys.path.insert(0, str(Path(__file__).parent))
    from reference import PAGES

    for name, place in OF_THE_ROOT.items():
        if (ROOT / name).exists():
            files.append(File.generated(config, place, content=(ROOT / name).read_text("utf-8")))
    for place, write in PAGES.items():
        files.append(File.generated(config, place, content=write()))
    files.append(File.generated(config, EXAMPLES, content=_examples_page()))
    linked = {target for page in files.documentation_pages() for target in _files_linked_from(page)}
    for target in sorted(linked | set(_examples())):
        files.append(File.generated(config, _shown(target), content=(ROOT / target).read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links as they stand in the checkout, to where the files are in the site."""
    place = page.file.src_uri
    if place.startswith(("reference/", "files/")):
        return markdown

    def moved(match: re.Match[str]) -> str:
        target = _target(place, match[2])
        new = OF_THE_ROOT.get(target, target.removeprefix("docs/"))
        if not target.startswith("docs/") and target not in OF_THE_ROOT:
            new = EXAMPLES if (ROOT / target).is_dir() else _shown(target)
        return f"{match[1]}{posixpath.relpath(new, posixpath.dirname(place) or '.')}{match[3]}"

    return LINK.sub(moved, markdown)


def _target(place: str, link: str) -> str:
    """What a link of a page means, as a path from the root."""
    before = next((name for name, new in OF_THE_ROOT.items() if new == place), f"docs/{place}")
    return posixpath.normpath(posixpath.join(posixpath.dirname(before), link))


def _files_linked_from(page: File) -> list[str]:
    if page.src_uri.startswith(("reference/", "files/")):
        return []
    found = [_target(page.src_uri, match[2]) for match in LINK.finditer(page.content_string)]
    return [one for one in found if not one.startswith("docs/") and one not in OF_THE_ROOT and (ROOT / one).is_file()]


def _shown(target: str) -> str:
    """Where a file of the checkout stands in the site: source as text, so that a browser shows it."""
    return f"files/{target}{'' if target.endswith(('.ipynb', '.svg', '.png')) else '.txt'}"


def _examples() -> list[str]:
    paths = sorted((ROOT / "examples").rglob("*"))
    return [path.relative_to(ROOT).as_posix() for path in paths if path.is_file() and "__pycache__" not in path.parts]


def _examples_page() -> str:
    lines = [f"- [{one.removeprefix('examples/')}]({_shown(one).removeprefix('files/')})" for one in _examples()]
    return "\n".join(["# Examples", "", "Files to start from, each run by a test.", "", *lines, ""])
