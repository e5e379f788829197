"""A page for each package of the library, from its docstrings."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]


def packages() -> dict[str, list[str]]:
    """The packages of the library, with the modules of each that have something public."""
    found: dict[str, list[str]] = {}
    for file in sorted((ROOT / "sextant").rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        if parts[-1] != "__init__":
            found.setdefault(".".join(parts[:-1]), []).append(".".join(parts))
    return dict(sorted(found.items()))


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages under API."""
    (part,) = (part for part in config.nav or [] if "API" in part)
    part["API"] = [{package: f"api/{package}.md"} for package in packages()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for package, modules in packages().items():
        text = f"# {package}\n\n" + "\n".join(f"::: {module}\n" for module in modules)
        files.append(File.generated(config, f"api/{package}.md", content=text))
    return files
