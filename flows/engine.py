"""The process of one run that a worker starts: Prefect's engine, with our flows loaded beforehand.

Prefect loads a flow with the working folder before everything else, and code of that folder's owner would be taken for ours.
"""

from __future__ import annotations

import logging
import runpy


def worth_saying(record: logging.LogRecord) -> bool:
    """Say whether a line of Prefect's engine is news. Of a run that was stopped it says the end, and then a traceback of that."""
    from prefect.exceptions import CancelledRun

    return not (record.exc_info and record.exc_info[0] is not None and issubclass(record.exc_info[0], CancelledRun))


if __name__ == "__main__":
    # What a run says of itself, in the words of the terminal; its warnings alone would come by Python's default.
    logging.getLogger("dst").setLevel(logging.INFO)
    # All that a deployment names is imported there, the other flows among them.
    import flows.deployments  # noqa: F401

    logging.getLogger("prefect.flow_runs").addFilter(worth_saying)

    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)
