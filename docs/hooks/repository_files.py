"""Files of the repository outside docs/ that pages link to, as parts of the site.

A link means what it means in the repository: it is looked up from the folder of its page. README.md is the site's first
page; the ledger is the page of results; any other file that is linked to is a page (Markdown) or a file of the site,
under ``repository/``.
"""

import os
import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
DOCS = "docs"
#: Pages of the site that stand for a file of the repository.
PAGES = {"README.md": "index.md", "benchmarks/results.csv": "results.md"}
#: Markdown's links and images, and the source of an image in HTML; not what leads to a host or within the page.
LINK = re.compile(r"""(\]\(|src=")(?!https?:|mailto:|#)([^)#"\s]+)""")


def source_of(site: str) -> str:
    """The path in the repository of a file of the site."""
    for source, page in PAGES.items():
        if site == page:
            return source
    return site.removeprefix("repository/") if site.startswith("repository/") else f"{DOCS}/{site}"


def place_of(source: str) -> str:
    """The path in the site of a file of the repository."""
    if source in PAGES:
        return PAGES[source]
    return source.removeprefix(f"{DOCS}/") if source.startswith(f"{DOCS}/") else f"repository/{source}"


def target(link: str, source: str) -> str:
    """The path in the repository that a link in the file ``source`` means."""
    return os.path.normpath(PurePosixPath(source).parent / link)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add README.md, and what pages link to outside docs/, and the files that these link to."""
    pages = [file.src_uri for file in files.documentation_pages()]
    waiting = ["README.md", *map(source_of, pages)]
    seen = set(waiting)
    while waiting:
        source = waiting.pop()
        if not source.startswith(f"{DOCS}/") and source not in PAGES.keys() - {"README.md"}:
            file = File.generated(config, place_of(source), abs_src_path=str(ROOT / source))
            files.append(file)
        if source.endswith(".md"):
            text = (ROOT / source).read_text(encoding="utf-8")
            linked = {target(link, source) for _, link in LINK.findall(text)} - seen
            found = {path for path in linked if (ROOT / path).is_file()}
            seen |= found
            waiting += sorted(found)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make each link of a page lead to its place in the site."""
    source = source_of(page.file.src_uri)
    here = PurePosixPath(page.file.src_uri).parent

    def replaced(match: re.Match[str]) -> str:
        place = place_of(target(match[2], source))
        return match[1] + os.path.relpath(place, here)

    return LINK.sub(replaced, markdown)
