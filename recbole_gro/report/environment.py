"""What a reader needs to reproduce a result."""

import platform
import resource
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from recbole_gro.config.config import plain
from recbole_gro.config.config_like import ConfigLike
from recbole_gro.trainer import processes

PACKAGES = ("recbole-gro", "recbole", "torch", "numpy", "scipy", "pandas")


def environment(config: ConfigLike) -> dict[str, Any]:
    """Return the settings, seed, device, versions, git revision and peak memory of this process as plain values."""
    return {
        "model": config["model"],
        "dataset": config["dataset"],
        "seed": config["seed"],
        "config": {name: plain(value) for name, value in config.final_config_dict.items()},
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "revision": _revision(),
        "device": str(config["device"]),
        "processes": processes.count(),
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10),  # it is in KiB
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _revision() -> str | None:
    """Return the git commit of the checkout that the package lies in; None for an installed package."""
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / ".git").exists():
        return None
    try:
        described = subprocess.run(
            ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip() or None
