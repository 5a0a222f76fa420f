"""What is installed is what is in the checkout: built, unpacked elsewhere, and run there."""

import configparser
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from recbole_gro import __version__

CHECKOUT = Path(__file__).resolve().parents[1]
SOURCES = ("recbole_gro", "properties", "tests")
FILES = (
    "setup.cfg",
    "setup.py",
    "pyproject.toml",
    "MANIFEST.in",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
)
MORE_FILES = ("Makefile", "constraints.txt", "run_recbole_gro.py", "CITATION.cff", "SECURITY.md")
PROBE = """
import json, sys
import recbole_gro
from recbole_gro.config import Config
from recbole_gro.config.files import resolve_config_file
from recbole_gro.config.properties import packaged_properties
from recbole_gro.config.settings import plugin_keys
from recbole_gro.report.document import html
print(json.dumps({
    "modules": sorted(sys.modules),
    "package": recbole_gro.__file__,
    "overall": str(packaged_properties() / "overall.yaml"),
    "demo": resolve_config_file("gro.yaml"),
    "model": resolve_config_file("model/BERT4Rec.yaml"),
    "batch": Config("BERT4Rec")["train_batch_size"],
    "keys": sorted(plugin_keys()),
    "page": html("Title", []),
}))
"""


def relative_files(folder, pattern):
    return {str(file.relative_to(CHECKOUT)) for file in (CHECKOUT / folder).rglob(pattern)}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the sdist and the wheel that was built from the sdist; the checkout is left as it was."""
    source = tmp_path_factory.mktemp("source")
    for folder in SOURCES:
        shutil.copytree(CHECKOUT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in (*FILES, *MORE_FILES):
        shutil.copy(CHECKOUT / file, source)
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    subprocess.run(command, check=True, cwd=out, capture_output=True)
    return out


@pytest.fixture(scope="module")
def site(built, tmp_path_factory):
    """A folder that holds the installed wheel and nothing else."""
    folder = tmp_path_factory.mktemp("site")
    (wheel,) = built.glob("*.whl")
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", str(folder), str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture
def away(site, tmp_path):
    """Run Python in an empty folder, with the installed wheel and without the checkout.

    -S leaves out the .pth files through which an editable installation would bring the checkout back.
    """
    libraries = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]

    def run(*arguments):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *libraries])}
        command = [sys.executable, "-S", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_sdist_is_complete(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {*FILES, *MORE_FILES, *relative_files("properties", "*.yaml"), *relative_files("recbole_gro", "*.py")}
    wanted |= relative_files("recbole_gro", "*.html") | relative_files("recbole_gro", "*.json")
    assert wanted | relative_files("tests", "*.py") <= names


def test_wheel_has_the_package_and_its_defaults_alone(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        entry_points = archive.read(f"recbole_gro-{__version__}.dist-info/entry_points.txt").decode()
    defaults = {f"recbole_gro/{name}" for name in relative_files("properties", "*.yaml")}
    code = set().union(*(relative_files("recbole_gro", f"*.{ending}") for ending in ("py", "html", "json")))
    assert {name for name in names if ".dist-info/" not in name} == defaults | code
    assert any(name.endswith("/LICENSE") for name in names)
    assert "recbole-gro = recbole_gro.cli.main:main" in entry_points


def test_distributions_pass_the_checks_of_the_package_index(built):
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, built.iterdir())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2


def test_description_has_no_link_or_picture_that_works_in_the_repository_alone(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"recbole_gro-{__version__}.dist-info/METADATA").decode()
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)]*)\)", readme)
    assert re.findall(r"\]\(([^)]*)\)", metadata) == [target for target in targets if target.startswith("https:")]
    assert "run_recbole_gro.py --model=BERT4Rec --config_files=gro.yaml" in metadata


def test_installed_package_finds_its_defaults(away, site):
    seen = json.loads(away("-c", PROBE).splitlines()[-1])
    assert Path(seen["package"]).is_relative_to(site)
    assert Path(seen["overall"]).is_relative_to(site / "recbole_gro")
    assert seen["demo"] == (CHECKOUT / "properties/gro.yaml").read_text(encoding="utf-8")
    assert seen["model"] == (CHECKOUT / "properties/model/BERT4Rec.yaml").read_text(encoding="utf-8")
    assert f"train_batch_size: {seen['batch']} " in seen["model"]
    assert "gro_lambda" in seen["keys"]
    assert "<h1>Title</h1>" in seen["page"]
    # RecBole's quick_start begins by importing ray
    assert not {name for name in seen["modules"] if name.split(".")[0] == "ray" or "recbole.quick_start" in name}


def test_installed_command_tells_its_keys(away, tmp_path):
    told = away("-m", "recbole_gro", "run", "--help")
    assert "--config_files" in told
    assert "--gro_lambda" in told
    assert not list(tmp_path.iterdir())


def setup_cfg():
    parser = configparser.ConfigParser()
    parser.read(CHECKOUT / "setup.cfg", encoding="utf-8")
    return parser


def requirements(text, python=None):
    """Requirements of a text, one per line; with a version of Python, those that apply to it."""
    found = [Requirement(line) for line in text.split("\n") if line and not line.startswith("#")]
    if python is None:
        return found
    return [each for each in found if each.marker is None or each.marker.evaluate({"python_version": python})]


@pytest.mark.parametrize("required", requirements(setup_cfg()["options"]["install_requires"]), ids=str)
def test_bounds_hold_for_what_is_installed(required):
    assert required.specifier.contains(importlib.metadata.version(required.name), prereleases=True)


def test_python_bound_holds():
    assert platform.python_version() in SpecifierSet(setup_cfg()["options"]["python_requires"])


PYTHONS = re.findall(r":: (3\.\d+)$", setup_cfg()["metadata"]["classifiers"], flags=re.MULTILINE)


@pytest.mark.parametrize("python", PYTHONS)
def test_constraints_pin_every_requirement_within_its_bounds(python):
    pins = requirements((CHECKOUT / "constraints.txt").read_text(encoding="utf-8"), python)
    assert all([specifier.operator for specifier in pin.specifier] == ["=="] for pin in pins)
    versions = {pin.name.lower(): next(iter(pin.specifier)).version for pin in pins}
    assert len(versions) == len(pins)
    options = setup_cfg()
    named = options["options"]["install_requires"] + "\n".join(
        options["options.extras_require"][extra] for extra in ("test", "docs")
    )
    for required in requirements(named, python):
        assert required.specifier.contains(versions[required.name.lower()]), required


WORKFLOW = CHECKOUT / ".github" / "workflows" / "test.yml"


@pytest.mark.skipif(not WORKFLOW.is_file(), reason="a source distribution has no workflows")
def test_the_workflow_runs_the_makefile_on_every_python_of_the_classifiers():
    job = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]["test"]
    makefile = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
    assert job["strategy"]["matrix"]["python"] == PYTHONS
    for name in PYTHONS:
        assert f"python{name}" in makefile
    for command in (step["run"] for step in job["steps"] if "run" in step):
        assert re.search(rf"^{command.removeprefix('make ')}( \S+)*:", makefile, flags=re.MULTILINE), command
    for variable in job["env"]:
        assert variable in re.findall(r"[A-Z_]+", makefile)


def test_the_works_to_cite_are_those_that_the_package_links():
    citation = yaml.safe_load((CHECKOUT / "CITATION.cff").read_text(encoding="utf-8"))
    links = re.findall(r"https://doi\.org/(\S+)", setup_cfg()["metadata"]["project_urls"])
    assert [each["doi"] for each in citation["references"]] == links
    assert citation["license"] == setup_cfg()["metadata"]["license"]


def test_the_version_is_written_once():
    assert setup_cfg()["metadata"]["version"] == "attr: recbole_gro.__version__"
    files = [*CHECKOUT.glob("*.cff"), *CHECKOUT.glob("*.toml"), *(CHECKOUT / "recbole_gro").rglob("*.py")]
    written = [
        file.name for file in files if re.search(rf"version[\W_]+{re.escape(__version__)}", file.read_text("utf-8"))
    ]
    assert written == ["__init__.py"]
