"""A peer's own environment, .venv/peers/<name>: its pinned packages, made once and again when a pin changes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from jgo.maven import MavenContext
from peers.peer_list import Peer

HOME = Path(__file__).resolve().parents[2] / ".venv"
UV = HOME / "uv" / "bin" / "uv"


def python_of(peer: Peer) -> str:
    """The interpreter that has the peer's packages. Raises CalledProcessError where they cannot be installed."""
    if not peer.packages:
        return sys.executable
    folder = HOME / "peers" / peer.name
    python, made = folder / "bin" / "python", folder / "made-of"
    if made.is_file() and made.read_text() == "\n".join(peer.packages):
        return str(python)
    shutil.rmtree(folder, ignore_errors=True)
    _uv("venv", "--python", sys.executable, str(folder))
    _uv("pip", "install", "--python", str(python), *peer.packages)
    made.write_text("\n".join(peer.packages))
    return str(python)


def jars_of(peer: Peer) -> list[Path]:
    """The peer's jars from Maven Central, kept beside its packages."""
    context = MavenContext(repo_cache=HOME / "peers" / "jars", local_repos=[], timeout=60)
    parts = [coordinates.split(":") for coordinates in peer.jars]
    return [Path(context.project(g, a).at_version(v).artifact().resolve()) for g, a, v in parts]


def environment() -> dict[str, str]:
    """Of a peer's process: without what would mix our packages into it."""
    return {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}


def _uv(*arguments: str) -> None:
    subprocess.run([str(UV), "--quiet", *arguments], check=True, env=environment(), stdout=sys.stderr)
