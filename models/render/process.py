"""One renderer process as its parent sees it: start it, send it jobs, read its answers with a time limit, end it.

Enters: messages as JSON types. Leaves: the process's answers, or ProcessDied with the last lines of its log. When the
parent ends, the process's standard input ends, and so does the process.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class ProcessDied(RuntimeError):
    """The process is gone; `how` it went and what it wrote last."""

    def __init__(self, how: str, last_words: str) -> None:
        super().__init__(f"{how}: {last_words}")
        self.how, self.last_words = how, last_words


class ProcessHung(ProcessDied):
    """The process gave no sign within the time limit, and was ended."""


class Process:
    """A renderer process and its scratch folder."""

    def __init__(self, scratch: Path, device: str, threads: int) -> None:
        self.scratch = scratch
        self._log = scratch / "log.txt"
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "models.render.worker", str(scratch), device, str(threads)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=scratch,
                env=_environment(scratch, threads),
                # Ctrl-C in the terminal is for the parent, which then ends its processes.
                start_new_session=True,
            )
        self._buffer = b""
        self._jobs = 0
        self._resident = 0
        self._busy = False
        self._hello: dict[str, Any] = {}

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def fit(self, models: int, memory_bytes: int) -> bool:
        """Return whether it may take another job: alive, idle, and neither too old nor too large."""
        return self.alive and not self._busy and self._jobs < models and self._resident <= memory_bytes

    def greeting(self, timeout_s: float) -> dict[str, Any]:
        """Wait for its first message, which says what it renders with, and return it. Raises ProcessDied."""
        if not self._hello:
            self._hello = self.answer(timeout_s)["hello"]
        return self._hello

    def ask(self, job: dict[str, Any]) -> None:
        """Send it a job. Raises ProcessDied."""
        assert self._process.stdin is not None
        self._busy = True
        self._jobs += 1
        try:
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._death() from None

    def answer(self, timeout_s: float) -> dict[str, Any]:
        """Return its next message. Raises ProcessDied, or ProcessHung (and ends it) when none comes for `timeout_s`."""
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        until = time.monotonic() + timeout_s
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([pipe], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                self.end()
                raise ProcessHung(f"no sign for {timeout_s:g} s", self.last_words())
            piece = os.read(pipe, 1 << 20)
            if not piece:
                raise self._death()
            self._buffer += piece
        line, self._buffer = self._buffer.split(b"\n", 1)
        message: dict[str, Any] = json.loads(line)
        if "done" in message:
            self._busy, self._resident = False, message["done"]
        return message

    def last_words(self) -> str:
        """Return the last three lines it wrote, on one line."""
        try:
            with open(self._log, "rb") as log:
                log.seek(max(0, self._log.stat().st_size - 4096))
                said = log.read().decode(errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        return " | ".join([line.strip() for line in said if line.strip()][-3:])

    def end(self) -> None:
        """End it at once and wait until it is gone. What it has already handed out stays."""
        if self.alive:
            self._process.kill()
        self._process.wait()

    def _death(self) -> ProcessDied:
        code = self._process.wait()
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return ProcessDied(how, self.last_words())


def _environment(scratch: Path, threads: int) -> dict[str, str]:
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(part for part in (str(ROOT), os.environ.get("PYTHONPATH", "")) if part),
        # Libraries beside Cycles (denoiser, BLAS) would each start a thread for every core, and the denoiser's bytes with them.
        "OMP_NUM_THREADS": str(threads),
        "OIDN_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        # A person's own Blender settings and add-ons must not change what is rendered.
        "BLENDER_USER_RESOURCES": str(scratch / "blender"),
        "GIT_PYTHON_REFRESH": "quiet",
    }
