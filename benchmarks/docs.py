"""Writes the records that are kept into the documentation's page on speed: its figures, and nothing else of it."""

import json
import shutil
from pathlib import Path

from benchmarks import tables

PAGE = Path(__file__).parents[1] / "docs" / "speed.md"
BEGIN, END = "<!-- records: begin -->", "<!-- records: end -->"
CAPTIONS = {
    "sizes": "Time per example against the number of examples",
    "peers": "Time of others over that of glmheads, for the same work",
    "bandwidth": "Bandwidth, against that of a copy on the device",
}


def write(results: Path, page: Path = PAGE) -> None:
    """A section for each record, between the page's marks; its plots into the folder of images beside the page."""
    images = page.parent / "images"
    images.mkdir(exist_ok=True)
    sections = []
    for path in sorted(results.glob("*/speed.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        lines = [f"### {record['device']}", tables.where(record)]
        for name, caption in CAPTIONS.items():
            plot = path.with_name(f"{name}.svg")
            if plot.exists():
                image = images / f"speed-{record['device']}-{name}.svg"
                shutil.copyfile(plot, image)
                lines.append(f"![{caption}](images/{image.name})")
        measured = [target for target in record["targets"] if target["met"] is not None]
        lines.append(tables.targets({**record, "targets": measured}).markdown())
        sections.append("\n\n".join(lines))
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n\n" + "\n\n".join(sections) + f"\n\n{END}{after}", encoding="utf-8")
