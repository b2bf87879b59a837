"""Whether a place can be worked in, asked before any work is done: one line now instead of a traceback in an hour."""

from __future__ import annotations

from models.device import pick_device
from storage.folders import try_folder
from tasks.plan.place import Place


def ready(place: Place) -> None:
    """Raise where nothing can be made: a folder that cannot be written to, a disk that is full, a device that is not there.

    Raises NoRoomLeft, OSError or NoDevice, each in one line.
    """
    try_folder(place.home)
    place.store.try_writing()
    if place.device != "auto":
        # What `auto` means takes torch to know, and is always there.
        pick_device(place.device)
