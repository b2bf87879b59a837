"""What determines the image stage's pixels.

Enters: nothing heavy (no torch here). Leaves: ImageSpec, the stage's name and VERSION, and the digest that stands for a folder
of weights. Paper section 3.1: an image from a ControlNet that obeys the edge map (3D visual prompt) and the text prompt.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

STAGE = "image"
VERSION = 1

EMBEDDED = "embedded"
"""The model name that stands for the weights which come with the project."""

SCHEDULERS = ("ddim", "euler", "euler_a", "dpmpp_2m", "unipc", "as_saved")
DTYPES = ("float32", "bfloat16", "float16")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.\-]*/[\w.\-]+")
_WEIGHTS = Path(__file__).parents[1] / "weights"


class UnknownModel(ValueError):
    """A model that is neither a folder nor a hub id with a commit. One line says what to do."""


@dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """A diffusers pipeline and how it is sampled."""

    model: str = EMBEDDED
    """`embedded`, a folder in diffusers' layout, or a hub id such as `stable-diffusion-v1-5/stable-diffusion-v1-5`."""
    revision: str = ""
    """Hub id: the commit, 40 hex digits. Folder: `sha256:...` of its files, filled in by `pinned`."""
    control_model: str = ""
    """The ControlNet's own folder or hub id; empty: the `controlnet` inside `model`."""
    control_revision: str = ""
    """As `revision`, of `control_model`."""
    resolution: int = 128
    """Width and height of the image, pixels, a multiple of 8."""
    scheduler: str = "ddim"
    """ddim, euler, euler_a, dpmpp_2m, unipc, or as_saved (what the model's folder names)."""
    steps: int = 20
    """Denoising steps."""
    guidance: float = 1.5
    """Classifier-free guidance scale; 1 switches it off. The default was chosen on the embedded generator; the paper's is 9."""
    eta: float = 0.3
    """DDIM's share of fresh noise in each step, 0..1; other schedulers ignore it. Default: as for guidance; the paper's is 1."""
    control_scale: float = 1.5
    """Weight of the control: 0 switches the edges off. Default: as for guidance; the paper's is 1."""
    dtype: str = "float32"
    """float32, bfloat16 or float16."""

    def __post_init__(self) -> None:
        if not self.model:
            raise ValueError("model is empty: give `embedded`, a folder or a hub id")
        if self.resolution < 8 or self.resolution % 8:
            raise ValueError(f"resolution {self.resolution} is not a positive multiple of 8")
        if self.scheduler not in SCHEDULERS:
            raise ValueError(f"no scheduler {self.scheduler!r}; there are {', '.join(SCHEDULERS)}")
        if not 1 <= self.steps <= 1000:
            raise ValueError(f"steps {self.steps} is not in 1..1000")
        if not 0.0 <= self.eta <= 1.0:
            raise ValueError(f"eta {self.eta} is not in 0..1")
        if not 0.0 <= self.control_scale <= 10.0:
            raise ValueError(f"control_scale {self.control_scale} is not in 0..10")
        if not 0.0 <= self.guidance <= 100.0:
            raise ValueError(f"guidance {self.guidance} is not in 0..100")
        if self.dtype not in DTYPES:
            raise ValueError(f"no dtype {self.dtype!r}; there are {', '.join(DTYPES)}")


def paper_sd15() -> ImageSpec:
    """Return the paper's generator: Stable Diffusion 1.5 with ControlNet v1.1 canny, DDIM, 20 steps, eta 1, guidance 9."""
    return ImageSpec(
        model="stable-diffusion-v1-5/stable-diffusion-v1-5",
        revision="451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
        control_model="lllyasviel/control_v11p_sd15_canny",
        control_revision="115a470d547982438f70198e353a921996e2e819",
        resolution=512,
        guidance=9.0,
        eta=1.0,
        control_scale=1.0,
    )


def folder_of(model: str) -> Path | None:
    """Return the folder that `model` names, or None for a hub id. Raises UnknownModel for what is neither."""
    if model == EMBEDDED:
        folder = _WEIGHTS / EMBEDDED
        if not folder.is_dir():
            raise UnknownModel(f"the embedded generator's weights are missing in {folder}; make them with: dst train")
        return folder
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if _HUB_ID.fullmatch(model):
        return None
    raise UnknownModel(f"no model {model!r}: there is no such folder, and it is no hub id (owner/name)")


def revision(model: str, given: str = "") -> str:
    """Return what pins `model`: `sha256:` and the digest of a folder's files, or the commit given for a hub id.

    Raises UnknownModel when a hub id comes without a commit, because a branch means other weights tomorrow, and when a folder
    is not the one whose digest was given.
    """
    folder = folder_of(model)
    if folder is None:
        if not _COMMIT.fullmatch(given):
            raise UnknownModel(f"{model} needs its revision as a commit of 40 hex digits, not {given!r}; its hub page lists them")
        return given
    found = f"sha256:{_digest(folder)}"
    if given and given != found:
        raise UnknownModel(f"{model} holds other weights than the recipe asks for: {found[:19]}..., asked for {given[:19]}...")
    return found


def pinned(spec: ImageSpec) -> ImageSpec:
    """Return `spec` with every revision filled in: the form that is hashed, recorded and obeyed."""
    control = revision(spec.control_model, spec.control_revision) if spec.control_model else ""
    return dataclasses.replace(spec, revision=revision(spec.model, spec.revision), control_revision=control)


def _digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".safetensors", ".json", ".txt") and path.is_file())
    if not files:
        raise UnknownModel(f"{folder} holds no model: expected model_index.json and safetensors files")
    lines = [[path.relative_to(folder).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()] for path in files]
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()
