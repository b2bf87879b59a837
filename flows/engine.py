"""The process of one run that a worker starts: Prefect's engine, with our flows loaded beforehand.

Prefect loads a flow with the working folder before everything else, and code of that folder's owner would be taken for ours.
"""

from __future__ import annotations

import logging
import runpy

if __name__ == "__main__":
    # What a run says of itself, in the words of the terminal; its warnings alone would come by Python's default.
    logging.getLogger("dst").setLevel(logging.INFO)
    # All that a deployment names is imported there, the other flows among them.
    import flows.deployments  # noqa: F401

    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)
