"""The command line: ``glmheads evaluate`` and ``glmheads merge``.

``sources`` finds the files, ``readers`` reads record batches from them, ``examples`` turns these into arrays and finds
the row that a head refuses, ``report`` formats the results, ``output`` writes them. Only `main` is here, so that it can
be imported without the libraries of the ``cli`` extra.
"""

import sys
from collections.abc import Sequence

__all__ = ["main"]

_EXTRA = ("pyarrow", "rich", "typer")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process if not given.

    Returns
    -------
    int
        The exit status: 0, 2 after an error, which is one line on stderr, or 130 after Ctrl-C.
    """
    try:
        from glmheads.cli.app import run

        return run(arguments)
    except ModuleNotFoundError as error:
        package, _, _ = (error.name or "").partition(".")
        if package not in _EXTRA:
            raise
        sys.stderr.write(f"glmheads: the command line needs {package}: pip install 'glmheads[cli]'\n")
        return 2
    except KeyboardInterrupt:
        return 130
