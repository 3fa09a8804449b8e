"""A record as tables: on the terminal and in Markdown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

Record = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """Columns of text; `left` of them are words, the others numbers."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1

    def markdown(self) -> str:
        marks = ["---" if i < self.left else "---:" for i in range(len(self.columns))]
        return "\n".join("| " + " | ".join(cells) + " |" for cells in (self.columns, marks, *self.rows))

    def show(self) -> None:
        table = RichTable(title=self.title, title_justify="left")
        for i, column in enumerate(self.columns):
            table.add_column(column, justify="left" if i < self.left else "right")
        for row in self.rows:
            table.add_row(*row)
        Console(width=max(140, Console().width)).print(table)


def tables(record: Record) -> list[Table]:
    return [targets(record), *timings(record), *absent(record, "skipped"), *absent(record, "failed")]


def targets(record: Record) -> Table:
    threads = [str(n) for n in record["threads"] if n != 1]
    rows = [
        [
            row["target"],
            f"{row['bound']} {row['unit']}",
            _number(row["reached"]),
            {True: "yes", False: "**no**", None: "not measured"}[row["met"]],
            *(_number(row["reached_with_threads"].get(n)) for n in threads),
        ]
        for row in record["targets"]
    ]
    columns = ["Target", "bound", "reached", "met", *(f"with {n} threads" for n in threads)]
    return Table("Targets", columns, rows)


def timings(record: Record) -> Iterable[Table]:
    """A table for each race; of a small batch the time, of more the time per example, with its quartiles."""
    timed = [row for row in record["rows"] if "seconds" in row]
    for race in dict.fromkeys(row["race"] for row in timed):
        rows = [
            [
                row["contestant"],
                f"{row['size']:,}",
                "all" if row["threads"] is None else str(row["threads"]),
                _number(row["seconds"]["median"] * 1e6),
                _number(row["nanoseconds_per_example"]),
                _spread(row),
                "" if row["gigabytes_per_second"] is None else _number(row["gigabytes_per_second"]),
            ]
            for row in timed
            if row["race"] == race
        ]
        columns = ["Contestant", "examples", "threads", "µs", "ns per example", "quartiles", "GB/s"]
        yield Table(race[0].upper() + race[1:], columns, rows)
    memory = [row for row in record["rows"] if "extra_bytes" in row]
    if memory:
        rows = [
            [row["contestant"], f"{row['size']:,}", str(row["threads"]), f"{row['extra_bytes'] / 2**20:.1f}"]
            for row in memory
        ]
        yield Table("Extra memory", ["Contestant", "examples", "threads", "MiB"], rows)


def absent(record: Record, kind: str) -> Iterable[Table]:
    """What was "skipped" or "failed", by the reason: who, and in which races."""
    found: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for row in record["rows"]:
        if kind in row:
            who, races = found.setdefault(row[kind], ({}, {}))
            who[row["contestant"]] = races[row["race"]] = None
    if found:
        rows = [[_line(why), "; ".join(who), "; ".join(races)] for why, (who, races) in found.items()]
        yield Table(kind.capitalize(), ["Why", "who", "races"], rows, left=3)


def _line(text: str) -> str:
    return " ".join(text.replace("|", "/").split())[:300]


def markdown(record: Record) -> str:
    return "\n\n".join(f"## {table.title}\n\n{table.markdown()}" for table in tables(record)) + "\n"


def where(record: Record) -> str:
    """The machine and the versions, in a sentence."""
    machine, versions = record["machine"], record["versions"]
    gpus = "".join(f", {gpu}" for gpu in machine["gpus"])
    memory = machine["memory_bytes"] / 2**30
    libraries = ", ".join(f"{name} {number}" for name, number in versions.items())
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {memory:.0f} GiB{gpus}, {machine['system']}; "
        f"glmheads {record['glmheads']}, {libraries}; {record['date']}."
    )


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _spread(row: Record) -> str:
    scale = 1e9 / row["size"]
    return " to ".join(_number(row["seconds"][key] * scale) for key in ("lower_quartile", "upper_quartile"))
