"""The speed of glmheads and of its peers on this machine: a table, a record in JSON, and plots."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import docs as page
from benchmarks import machine, plots, tables, targets, tf_estimator, worker
from benchmarks.measure import Setting, SkippedError
from benchmarks.races import GROUPS

RESULTS = Path(__file__).with_name("results")
ALL = (*GROUPS, "memory")
console = Console(stderr=True)
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Option = typer.Option


@app.command(help=__doc__)
def main(
    group: Annotated[
        list[str] | None, Option(help=f"Measure this group alone, again for more: {', '.join(ALL)}.")
    ] = None,
    threads: Annotated[list[int] | None, Option(help="Threads, again for more; 1, which binds, and 2.")] = None,
    rounds: Annotated[int, Option(min=1, help="Timed rounds of each race.")] = 9,
    largest: Annotated[int, Option(help="No more examples; a target that needs more is not measured.")] = 10**8,
    seed: Annotated[int, Option(help="Of the data.")] = 0,
    tf_python: Annotated[Path | None, Option(help="Python with tf.estimator; else an environment is made.")] = None,
    tf: Annotated[bool, Option(help="Measure tf.estimator, too.")] = True,
    output: Annotated[Path, Option(help="Folder of the results, in which one for this device is made.")] = RESULTS,
    device: Annotated[str | None, Option(help="Name of the device's folder; else its model.")] = None,
    docs: Annotated[bool, Option("--docs", help="Write all kept records into docs/speed.md, too.")] = False,
    measure: Annotated[bool, Option(help="If not: judge and draw the kept record again.")] = True,
) -> None:
    groups = tuple(group or ALL)
    if unknown := set(groups) - set(ALL):
        raise typer.BadParameter(f"there is no group {', '.join(sorted(unknown))}; there are {', '.join(ALL)}")
    described = machine.described()
    name = device or machine.device_name(described["machine"])
    folder = output / name
    if measure:
        setting = with_tf_estimator(Setting(rounds=rounds, largest=largest, seed=seed), tf, tf_python)
        if setting.tf_python is not None:
            described["versions"] |= tf_estimator.versions(setting.tf_python)
        counts = [count for count in threads or [1, 2] if count <= described["machine"]["cores"]]
        rows = list(worker.measured(groups, counts, setting, console.print))
        record: tables.Record = {
            "device": name,
            **described,
            "threads": counts,
            "setting": {"groups": groups, "rounds": rounds, "largest": largest, "seed": seed},
            "rows": rows,
        }
    else:
        record = json.loads((folder / "speed.json").read_text(encoding="utf-8"))
    record["targets"] = targets.judged(record["rows"], record["threads"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "speed.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    write(record, folder)
    if docs:
        page.write(output)
    if any("failed" in row for row in record["rows"]):
        raise typer.Exit(1)


def with_tf_estimator(setting: Setting, wanted: bool, python: Path | None) -> Setting:
    """The setting with the Python that has tf.estimator, or why there is none."""
    if not wanted:
        return replace(setting, tf_missing="tf.estimator was not asked for")
    if python is not None:
        return replace(setting, tf_python=str(python))
    console.print("an environment for tf.estimator, once ...")
    try:
        return replace(setting, tf_python=str(tf_estimator.environment()))
    except SkippedError as error:
        return replace(setting, tf_missing=str(error))


def write(record: tables.Record, folder: Path) -> None:
    """The tables and the plots of a record."""
    for table in tables.tables(record):
        table.show()
    text = f"# Speed on {record['device']}\n\n{tables.where(record)}\n\n{tables.markdown(record)}"
    (folder / "speed.md").write_text(text, encoding="utf-8")
    plots.draw(record, folder)
    console.print(f"written to {folder}")


if __name__ == "__main__":
    app(prog_name="python -m benchmarks")
