"""Who is judged by whom: folds that never let a model judge images of CAD models it has learned from.

Enters: the CAD model and the pose of each image. Leaves: a fold number for each, and by what the folds were made.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def deal(cad_ids: Sequence[str], poses: NDArray[np.float64], folds: int) -> tuple[NDArray[np.int64], str]:
    """Return (fold of each image, "cad" or "view").

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
    return np.array([place[name] for name in of_image], np.int64), by
