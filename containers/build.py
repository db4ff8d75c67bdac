"""Build an image: `python containers/build.py [options of apptainer build] DEFINITION IMAGE`.

What pip is configured for on this machine (an index, a certificate, a folder of wheels) counts in
the build too. Local files and folders among it are bound below /mnt while the build takes place.
"""

import ast
import hashlib
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

MOUNT = "/mnt"
LOCAL = re.compile(r"(?<![^\s/])/(?:[^/\s]+/)*[^/\s]+")  # behind file://, or by itself


def pip_settings() -> dict[str, str]:
    """What pip is configured for; the environment's word counts before a file's."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        capture_output=True,
        text=True,
        check=True,
        encoding="utf-8",
    ).stdout
    found = re.findall(r"^(global|:env:)\.([\w-]+)=(.*)$", listed, re.MULTILINE)
    return {key: ast.literal_eval(value) for _, key, value in sorted(found, reverse=True)}


def git_commit() -> str:
    """The checkout's commit, with a mark if tracked files differ from it."""
    described = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    result = subprocess.run(
        described, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    return result.stdout.strip() or "unknown"


def staged(folder: Path, settings: dict[str, str]) -> list[str]:
    """Binds for a build with `folder`, where pip.conf goes, at /mnt; local paths lie below it."""
    binds = [f"{folder}:{MOUNT}:ro"]

    def moved(match: re.Match[str]) -> str:
        """A path's place in the build; what is no path here stays as it is."""
        path = Path(match[0])
        if not path.exists():
            return match[0]
        shared = path.parent if path.name == "simple" else path  # an index's files lie beside it
        target = folder / shared.relative_to("/")  # a mount needs something to lie on
        target.parent.mkdir(parents=True, exist_ok=True)
        target.mkdir(exist_ok=True) if shared.is_dir() else target.touch()
        binds.append(f"{shared}:{MOUNT}{shared}:ro")
        return f"{MOUNT}{path}"

    lines = [f"{key} = {LOCAL.sub(moved, value)}" for key, value in settings.items()]
    (folder / "pip.conf").write_text("\n".join(["[global]", *lines]) + "\n", encoding="utf-8")
    return [argument for bind in dict.fromkeys(binds) for argument in ("--bind", bind)]


def main() -> int:
    """Call apptainer, and note the image's digest beside it."""
    *options, definition, image = sys.argv[1:]
    with TemporaryDirectory() as folder:
        binds = staged(Path(folder), pip_settings())
        commit = ["--build-arg", f"commit={git_commit()}"]
        build = ["apptainer", "build", "--force", *binds, *commit, *options, image, definition]
        if failed := subprocess.run(build, check=False).returncode:
            return failed
    with Path(image).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    Path(f"{image}.sha256").write_text(f"{digest}  {Path(image).name}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
