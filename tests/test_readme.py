"""What the README says of keys and names is what the code has."""

import ast
import re
from pathlib import Path

import recbole_gro
from recbole_gro.config.reference import markdown_table

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_table_of_keys_is_the_one_the_code_checks():
    assert markdown_table() in (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")


def test_python_snippets_import_names_that_exist():
    snippets = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    imports = [
        alias.name
        for snippet in snippets
        for node in ast.walk(ast.parse(snippet))
        if isinstance(node, ast.ImportFrom) and node.module == "recbole_gro"
        for alias in node.names
    ]
    assert imports
    assert set(imports) <= set(recbole_gro.__all__)


def test_the_commands_of_the_readme_are_in_the_makefile():
    makefile = (Path(__file__).parent.parent / "Makefile").read_text(encoding="utf-8")
    command = "run_recbole_gro.py --model=BERT4Rec --config_files=gro.yaml"
    assert command in README
    assert command in makefile
    for target in re.findall(r"^make (\w+)", README, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
