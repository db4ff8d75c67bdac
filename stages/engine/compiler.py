"""The C compiler that vLLM needs on GPUs: Triton compiles a launcher for each of its kernels."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory

from stages.runtime.errors import UserError


def check() -> None:
    """Raise UserError unless a module that includes Python.h can be compiled here."""
    # The order in which Triton looks for one.
    compiler = os.environ.get("CC") or which("gcc") or which("clang")
    if not compiler:
        raise UserError(f"no C compiler here, which vLLM needs on GPUs: {install('gcc')}")
    with TemporaryDirectory() as folder:
        source = Path(folder, "check.c")
        source.write_text("#include <Python.h>\n", encoding="utf-8")
        compiled = subprocess.run(
            [compiler, source, "-shared", "-fPIC", f"-I{headers()}", "-o", f"{source}.so"],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    if compiled.returncode:
        said = next((line for line in compiled.stderr.splitlines() if "error" in line), "no output")
        version = f"python{sys.version_info.major}.{sys.version_info.minor}-dev"
        raise UserError(
            f"{compiler} cannot compile a module of Python, as vLLM must on GPUs "
            f"({said.strip()}): {install(version, 'libc6-dev')}"
        )


def headers() -> str:
    """Return the folder of Python.h, where Triton looks for it."""
    scheme = sysconfig.get_default_scheme()
    return sysconfig.get_paths("posix_prefix" if scheme == "posix_local" else scheme)["include"]


def install(*packages: str) -> str:
    """Return what to do."""
    return f"install it (Debian: apt-get install {' '.join(packages)})"
