"""How much has been read, on a terminal."""

import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from glmheads.cli import readers
from glmheads.cli.errors import printable
from glmheads.cli.readers import Chunk
from glmheads.cli.sources import Source

Read = Callable[[Source, Sequence[str], Collection[str]], Iterator[Chunk]]
"""`readers.read`"""


class _Rate(ProgressColumn):
    """Rows a second since the start."""

    def render(self, task: Task) -> Text:
        rows, seconds = task.fields["rows"], task.finished_time or task.elapsed
        return Text(f"{rows / seconds:,.0f} rows/s" if rows and seconds else "")


@contextmanager
def reading(sources: Sequence[Source]) -> Iterator[Read]:
    """`readers.read`, which shows on a terminal how much of all sources it has read, how fast, and the time left."""
    sizes = [source.size for source in sources]
    total = None if None in sizes else sum(size or 0 for size in sizes)
    text, rate, left = TextColumn("{task.description}", markup=False), _Rate(), TimeRemainingColumn()
    columns = (text, BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[rows]:,} rows"), rate, left)
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    with progress if sys.stderr.isatty() else nullcontext():
        task = progress.add_task("", total=total, rows=0)
        before = rows = 0

        def read(source: Source, columns: Sequence[str], sparse: Collection[str]) -> Iterator[Chunk]:
            nonlocal before, rows
            name = printable(source.path.name, 40)
            for chunk in readers.read(source, columns, sparse):
                yield chunk
                rows += chunk.rows.num_rows
                progress.update(task, description=name, completed=before + chunk.position, rows=rows)
            before += source.size or 0

        yield read
