"""Everything a lost catalog can be restored from.

Enters: the store. Leaves: its artifacts and journal, without those that cannot be read, which are named.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from storage.artifacts import Artifact, ArtifactError, ArtifactStore
from storage.stages import FILE

_TOLD_EVERY = 500


def everything(
    store: ArtifactStore, left_out: Callable[[str], None], tell: Callable[[int], None] = lambda count: None
) -> Iterator[Artifact]:
    """Yield every readable artifact by stage and key; left_out gets a line for each other one, tell how many were seen."""
    seen = 0
    for stage in store.stages():
        for key in store.keys(stage):
            seen += 1
            if seen % _TOLD_EVERY == 0:
                tell(seen)
            try:
                artifact = store.get(stage, key)
                if stage == "verdict":
                    # The one file that rows are made from.
                    json.loads(store.read(artifact, FILE[stage]))
            except (ArtifactError, ValueError) as error:
                left_out(str(error))
                continue
            yield artifact
    tell(seen)
