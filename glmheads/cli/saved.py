"""Saved evaluations: loading them, and the smallest slice that is reported."""

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import glmheads as gh
from glmheads.cli.errors import DataError, UsageError, named


def load(path: Path, head: gh.FamilyHead | None = None) -> gh.Evaluation:
    """A saved evaluation.

    Raises
    ------
    DataError
        If it can't be read, or is of another head.
    """
    with named(path):
        content = path.read_bytes()
    if not content.startswith(b"PK"):
        raise DataError(f"{path}: is not a file that --save wrote")
    file = io.BytesIO(content)
    file.name = str(path)  # for the message of an error
    try:
        return gh.Evaluation.load(file, head)
    except (ValueError, RecursionError) as error:
        raise DataError(str(error)) from error


def with_min_count(evaluations: Sequence[gh.Evaluation], min_count: int | None) -> tuple[gh.Evaluation, ...]:
    """The evaluations with another `min_count`, if one is given.

    Raises
    ------
    UsageError
        If there are no slices.
    """
    if min_count is None:
        return tuple(evaluations)
    if not evaluations[0].by:
        raise UsageError("--min-count is for slices, and there are none: give --by")
    return tuple(replace(evaluation, min_count=min_count) for evaluation in evaluations)
