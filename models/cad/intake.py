"""Canonicalises files that may be hostile: in a separate process, with limits on time and memory.

Enters: a path and a CadSpec. Leaves: a CanonicalModel, or BadModel with a reason. A file on which its reader crashes, hangs or
runs out of memory ends only that process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.cad.bad import BadModel
from models.cad.spec import CadSpec

if TYPE_CHECKING:
    from models.cad.canonical import CanonicalModel

TIMEOUT_S = 300.0
_LOOK_EVERY_S = 0.2
MEMORY_BYTES = 6 * 2**30

OUT_OF_MEMORY = ("MemoryError", "Unable to allocate", "failed to map segment", "Cannot allocate memory")
"""How a worker's last line says that its address space was too small: Python's way, numpy's, and the loader's of a library."""

PASSING = ("took_too_long", "out_of_memory", "reader_died", "reader_failed", "too_many_faces")
"""Reasons that depend on the machine, the settings or this code: worth another try when a person asks for one."""


def canonicalise_isolated(
    path: Path,
    spec: CadSpec,
    max_faces: int = 2_000_000,
    timeout_s: float = TIMEOUT_S,
    memory_bytes: int = MEMORY_BYTES,
    between: Callable[[], None] = lambda: None,
) -> CanonicalModel:
    """Return the canonical form of the CAD model at `path`, made in a worker process. Raises BadModel.

    between: called all the time while it is waited for; what it raises ends the worker and is passed on.
    """
    with tempfile.TemporaryDirectory(prefix="dst-cad-") as folder:
        job = {
            "path": str(path.absolute()),
            "spec": asdict(spec),
            "max_faces": max_faces,
            "memory_bytes": memory_bytes,
            "cpu_s": int(timeout_s) + 1,
            "out": folder,
        }
        environment = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", PYTHONHASHSEED="0")
        environment["PYTHONPATH"] = os.pathsep.join(
            [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        )
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "models.cad.intake", json.dumps(job)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
            # Ctrl-C on a terminal reaches every process of its group; a reader that dies of it would look like a broken file.
            start_new_session=True,
        )
        try:
            complaint = _complaint(process, time.monotonic() + timeout_s, between)
        except subprocess.TimeoutExpired:
            raise BadModel("took_too_long", f"{path.name} took more than {timeout_s:.0f} s to read; simplify it") from None
        finally:
            # Also when a person interrupts: no reader is left behind.
            if process.poll() is None:
                process.kill()
                process.communicate()
        return _collect(Path(folder), path, process.returncode, complaint.decode(errors="replace"), memory_bytes)


def _complaint(process: subprocess.Popen[bytes], until: float, between: Callable[[], None]) -> bytes:
    """Wait for the worker and return what it complained of. Raises TimeoutExpired."""
    while True:
        try:
            return process.communicate(timeout=max(0.0, min(_LOOK_EVERY_S, until - time.monotonic())))[1]
        except subprocess.TimeoutExpired:
            if time.monotonic() >= until:
                raise
            between()


def _collect(folder: Path, path: Path, code: int, complaint: str, memory_bytes: int) -> CanonicalModel:
    import numpy as np

    from models.cad.canonical import CanonicalModel

    try:
        result = json.loads((folder / "result.json").read_text())
    except FileNotFoundError:
        lines = [line for line in complaint.splitlines() if line.strip()]
        last = lines[-1] if lines else ""
        if any(sign in last for sign in OUT_OF_MEMORY):
            limit = f"{memory_bytes / 2**30:.1f} GiB"
            raise BadModel("out_of_memory", f"{path.name} needs more than {limit} to read; simplify it") from None
        if code == -signal.SIGXCPU:
            raise BadModel("took_too_long", f"{path.name} took too long to read; simplify it") from None
        if code < 0:
            raise BadModel(
                "reader_died", f"{path.name} killed its reader ({signal.Signals(-code).name}); export it again"
            ) from None
        raise BadModel("reader_failed", f"{path.name} cannot be read ({last[:200]}); export it again") from None
    if "reason" in result:
        raise BadModel(result["reason"], result["detail"])
    return CanonicalModel(
        glb=(folder / "model.glb").read_bytes(),
        canonical_from_source=np.array(result["canonical_from_source"], dtype=np.float64),
        facts=result["facts"],
    )


def _work(job: str) -> None:
    """The worker's whole life. An unforeseen exception ends it with a traceback, which the parent turns into a reason."""
    import resource

    # Before the limit: scipy's BLAS waits for ever where too little memory is left to load it (models.cad.normals needs it).
    import scipy.sparse.csgraph  # noqa: F401

    from models.cad.canonical import canonicalise

    task = json.loads(job)
    resource.setrlimit(resource.RLIMIT_AS, (task["memory_bytes"],) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (task["cpu_s"], task["cpu_s"] + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    out = Path(task["out"])
    try:
        made = canonicalise(Path(task["path"]), CadSpec(**task["spec"]), task["max_faces"])
    except BadModel as error:
        result: dict[str, Any] = {"reason": error.reason, "detail": error.detail}
    else:
        (out / "model.glb").write_bytes(made.glb)
        result = {"facts": made.facts, "canonical_from_source": made.canonical_from_source.tolist()}
    (out / "result.tmp").write_text(json.dumps(result))
    (out / "result.tmp").rename(out / "result.json")


if __name__ == "__main__":
    _work(sys.argv[1])
