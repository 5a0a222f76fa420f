"""Hooks of the documentation site: pages from outside docs/, links between them, texts generated from the code."""

import json
import os
import posixpath
import re
import subprocess
import sys
from pathlib import Path

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
OUTSIDE = ("results", "benchmarks")  # folders whose pages and figures belong to the site
MOVED = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "how-to/contributing.md"}
MOVED |= {"README.md": "index.md"}  # only as what links lead to
SCHEMA = "recbole_gro/report/results.schema.json"
COMMANDS = (
    *("run", "experiment", "audit", "serve", "keys", "dataset convert", "dataset statistics", "check-model"),
    *("settings", "detect", "verify"),
)
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def on_files(files, config):
    """Add the pages and figures that live outside docs/.

    Args:
        files: of docs/.
        config: of the site.

    Returns:
        All files of the site.
    """
    added = {name: place for name, place in MOVED.items() if name != "README.md"}
    for folder in OUTSIDE:
        for file in sorted((ROOT / folder).rglob("*")):
            if file.suffix in (".md", ".png"):
                added[file.relative_to(ROOT).as_posix()] = file.relative_to(ROOT).as_posix()
    for source, place in added.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    return Files(list(files))


def on_page_markdown(markdown, page, config, files):
    """Turn links of the repository into links of the site, and fill in what is generated.

    Args:
        markdown: text of the page.
        page: that is built.
        config: of the site.
        files: of the site.

    Returns:
        The text for the site.
    """
    place = page.file.src_uri
    generated = {file: source for source, file in MOVED.items() if source != "README.md"}
    source = generated.get(place) or (place if place.startswith(OUTSIDE) else f"docs/{place}")

    def site_link(match):
        mark, text, target = match.groups()
        path, anchor = (*target.partition("#")[::2],)
        if not path or re.match(r"[a-z]+:", target):
            return match[0]
        in_repository = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        page_there = MOVED.get(in_repository) or in_repository.removeprefix("docs/")
        if files.get_file_from_path(page_there):
            relative = os.path.relpath(page_there, posixpath.dirname(place) or ".")
            return f"{mark}[{text}]({relative}{'#' + anchor if anchor else ''})"
        if not (ROOT / in_repository).exists():
            return match[0]  # mkdocs warns
        return text if text.startswith("`") else f"{text} (`{in_repository}`)" if text != in_repository else f"`{text}`"

    parts = re.split(r"(^```.*?^```[^\n]*$)", markdown, flags=re.DOTALL | re.MULTILINE)
    markdown = "".join(part if part.startswith("```") else LINK.sub(site_link, part) for part in parts)
    if "<!-- help -->" in markdown:
        markdown = markdown.replace("<!-- help -->", command_help())
    if "<!-- schema -->" in markdown:
        markdown = markdown.replace("<!-- schema -->", schema_tables())
    return markdown


def command_help():
    """Return a section per subcommand with the text of its --help."""
    sections = []
    for command in COMMANDS:
        words = [sys.executable, "-m", "recbole_gro", *command.split(), "--help"]
        shown = subprocess.run(
            words, capture_output=True, text=True, check=True, cwd=ROOT, env=os.environ | {"COLUMNS": "100"}
        )
        sections.append(f"## recbole-gro {command}\n\n```text\n{shown.stdout.rstrip()}\n```\n")
    return "\n".join(sections)


def schema_tables():
    """Return a table per object of the schema of results.json: field, type, meaning."""
    schema = json.loads((ROOT / SCHEMA).read_text(encoding="utf-8"))
    objects = {"The file": schema} | {part["title"]: part for part in schema["$defs"].values() if "properties" in part}
    sections = []
    for title, part in objects.items():
        rows = [
            f"| `{name}` | {type_in_words(field)} | {field.get('description', '')} |"
            for name, field in part["properties"].items()
        ]
        sections.append(
            "\n".join(
                [
                    f"## {title}",
                    "",
                    part.get("description", ""),
                    "",
                    "| field | type | meaning |",
                    "|---|---|---|",
                    *rows,
                    "",
                ]
            )
        )
    return "\n".join(sections)


def type_in_words(field):
    """Return the type of a field of the schema as text."""
    if "$ref" in field:
        return field["$ref"].rpartition("/")[2]
    if field.get("type") == "array":
        return f"list of {type_in_words(field['items'])}"
    kind = field.get("type", "any")
    return " or ".join(kind) if isinstance(kind, list) else kind
