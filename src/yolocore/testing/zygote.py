"""``python -m yolocore.testing.zygote``: a process that has imported torch and forks for each order it reads.

An order is a line of JSON on stdin: ``words``, ``environment``, ``path`` (for ``sys.path``), ``folder`` and ``log``.
Each is answered by two lines: the number of the new process, and its exit status when it has ended. The new process
leaves :func:`serve` and ends like any other, with its threads joined and its exit functions run.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from importlib import import_module
from typing import Any, Final

PRELOADED: Final = ("torch._dynamo", "torchvision.ops", "matplotlib.backends.backend_agg", "yolocore.testing.trainings")


def serve() -> list[str]:
    """Fork for every order; return the words of an order, in the process that is to carry it out.

    Raises:
        SystemExit: in the first process, when nobody can give orders any more.
    """
    orders, answers = _own_pipes()
    for module in PRELOADED:
        import_module(module)
    while line := orders.readline():
        order = json.loads(line)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads; the libraries above start none
            number = os.fork()
        if number == 0:
            orders.close()
            answers.close()
            _become(order)
            return list(order["words"])
        answers.write(f"{number}\n")
        _, status = os.waitpid(number, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
    raise SystemExit(0)


def _own_pipes() -> tuple[Any, Any]:
    """Return stdin and stdout for the orders alone; whatever else is printed goes to stderr."""
    orders, answers = os.fdopen(os.dup(0), "r"), os.fdopen(os.dup(1), "w", buffering=1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return orders, answers


def _become(order: dict[str, Any]) -> None:
    """Turn this process into the one that was ordered: session, output, folder, environment, search path."""
    os.setsid()
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.path[:] = order["path"]


if __name__ == "__main__":
    given = serve()
    sys.argv[1:] = given
    import_module("yolocore.testing.child").main()
