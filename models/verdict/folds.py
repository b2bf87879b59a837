"""Which images are held out together: folds, so that no model judges images of a CAD model that it has learned from.

Enters: the CAD model and the pose of each image. Leaves: a fold number for each, by what the folds were made, which of them are
large enough to be judged, and all that in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# On cast cars with a tenth of the poses exchanged (60 sets each), wrong ones are ranked with an area under the ROC of 0.60 to
# 0.66 below these numbers of images, and of 0.69 and more from them on.
FEWEST_HELD_OUT = 5
"""A fold with fewer images is not judged: one wrong image would shift what is usual in it."""
FEWEST_TO_LEARN_FROM = 16
"""A fold is not judged by models that learned from fewer images."""
FEWEST_VIEWS = 8
"""A single CAD model seen from fewer sides is not judged: none of them resembles a held-out one."""

ONE_CAD_MODEL = (
    "with a single CAD model its views are only compared with each other, so what is wrong in all of them alike "
    "(a wrong orientation, say) goes unnoticed"
)
"""What it costs the filter when a class has one CAD model only."""


@dataclass(frozen=True, kw_only=True)
class Folds:
    """Which images are held out together."""

    of_image: NDArray[np.int64]
    """(N,) fold of each image."""
    by: str
    """`cad`: all images of a CAD model are in one fold. `view`: there is a single CAD model, and all images of a view are."""
    judged: NDArray[np.bool_]
    """(N,) whether the image's fold is large enough to be judged."""
    too_small: str | None
    """Which folds are not large enough and why, in words."""

    @property
    def count(self) -> int:
        """How many folds there are."""
        return len(np.unique(self.of_image))

    @property
    def words(self) -> str:
        """What the folds mean, for reports and cards."""
        if self.by == "cad":
            return f"{self.count} folds by CAD model: no image is judged by a model that learned from images of its CAD model"
        return f"{self.count} folds by view: {ONE_CAD_MODEL}"


def deal(cad_ids: Sequence[str], poses: NDArray[np.float64], folds: int) -> Folds:
    """Return the folds of N images; `poses` (N, 3).

    The sorted CAD models are dealt round into min(folds, CAD models) folds. Only a single CAD model is split by view: its
    distinct poses, sorted, are dealt round, so that images of one view stay together.
    """
    if len(set(cad_ids)) > 1:
        names: Sequence[object] = sorted(set(cad_ids))
        of_image: Sequence[object] = list(cad_ids)
        by = "cad"
    else:
        rounded = [tuple(pose) for pose in np.round(poses, 6).tolist()]
        names, of_image = sorted(set(rounded)), rounded
        by = "view"
    count = max(1, min(folds, len(names)))
    place = {name: index % count for index, name in enumerate(names)}
    fold = np.array([place[name] for name in of_image], np.int64)
    held_out = np.bincount(fold, minlength=count)
    large = (held_out >= FEWEST_HELD_OUT) & (len(fold) - held_out >= FEWEST_TO_LEARN_FROM)
    too_small = None
    if not len(fold):
        too_small = "there are no images"
    elif by == "view" and len(names) < FEWEST_VIEWS:
        large[:] = False
        too_small = f"a single CAD model is seen from {len(names)} sides; at least {FEWEST_VIEWS} are needed"
    elif not large.all():
        needed = f"a fold needs {FEWEST_HELD_OUT} images and {FEWEST_TO_LEARN_FROM} others to learn from"
        too_small = f"{int((~large).sum())} of {count} folds of {len(fold)} images are too small: {needed}"
    return Folds(of_image=fold, by=by, judged=large[fold], too_small=too_small)
