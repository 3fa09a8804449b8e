"""What a record says of where and when it was made."""

import os
import platform
import re
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psutil

import glmheads as gh

PACKAGES = (
    "numpy",
    "torch",
    "jax",
    "jaxlib",
    "cupy",
    "cupy-cuda12x",
    "cupy-cuda13x",
    "array-api-compat",
    "google-metrax",
    "numexpr",
    "optax",
    "scikit-learn",
    "scipy",
    "torchmetrics",
)


def described() -> dict[str, Any]:
    """The machine, the versions and the date."""
    return {
        "glmheads": gh.__version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpu": cpu(),
            "architecture": platform.machine(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "memory_bytes": psutil.virtual_memory().total,
            "system": system(),
            "gpus": gpus(),
        },
        "versions": {"python": platform.python_version(), **versions()},
    }


def device_name(machine: dict[str, Any]) -> str:
    """A folder's name: the GPU, or the CPU and its cores."""
    name = machine["gpus"][0] if machine["gpus"] else f"{machine['cpu']} {machine['cores']} cores"
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def cpu() -> str:
    try:
        from cpuinfo import get_cpu_info
    except ImportError:
        return platform.processor() or platform.machine()
    return get_cpu_info().get("brand_raw") or platform.machine()


def system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return f"{platform.system()} {platform.release()}"


def gpus() -> list[str]:
    """The names of NVIDIA's GPUs, as their driver says."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    command = [tool, "--query-gpu=name", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip().splitlines() if done.returncode == 0 else []


def versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
