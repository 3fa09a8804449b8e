"""The command line: its numbers against scikit-learn, and one line for every error."""

import csv
import gzip
import io
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import sklearn.metrics as sk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import glmheads as gh
from glmheads.cli import examples, main, readers, sources

FORMATS = ["csv", "tsv", "csv.gz", "csv.zst", "parquet", "feather", "arrow", "jsonl", "jsonl.gz"]
COLUMNS = ["--logits", "x", "--labels", "y"]
BINARY = ["--head", "binary", *COLUMNS]


@pytest.fixture
def data() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=3000)
    y = (rng.random(3000) < 1 / (1 + np.exp(-x))).astype(float)
    return {"id": np.arange(3000), "x": x, "y": y, "w": rng.uniform(0, 3, 3000), "count": rng.poisson(np.exp(x / 2))}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, Any], str]:
    """Write a file of text, bytes or columns; the ending says how."""

    def write_file(name: str, content: Any) -> str:
        path = tmp_path / name
        if isinstance(content, str):
            path.write_text(content)
        elif isinstance(content, bytes):
            path.write_bytes(content)
        else:
            write_table(pa.table(content), path)
        return str(path)

    return write_file


def write_table(table: pa.Table, path: Path) -> None:
    name = path.name.lower()
    if name.endswith(".parquet"):
        pa.parquet.write_table(table, path, row_group_size=1000)
    elif name.endswith((".feather", ".arrow")):
        new = pa.ipc.new_file if name.endswith(".feather") else pa.ipc.new_stream
        with new(path, table.schema) as file:
            file.write_table(table, 1000)
    else:
        text = io.BytesIO()
        if ".jsonl" in name:
            text.write("".join(json.dumps(row) + "\n" for row in table.to_pylist()).encode())
        else:
            pa.csv.write_csv(table, text, pa.csv.WriteOptions(delimiter="\t" if ".tsv" in name else ","))
        codec = {"gz": "gzip", "zst": "zstd"}.get(name.rpartition(".")[2])
        content = text.getvalue()
        path.write_bytes(pa.compress(content, codec, asbytes=True) if codec else content)


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """The JSON that the command prints."""

    def run(*arguments: str) -> dict[str, Any]:
        status = main(["evaluate", *arguments, "--format", "json"])
        out, err = capsys.readouterr()
        assert (status, err) == (0, "")
        return json.loads(out, parse_constant=pytest.fail)

    return run


@pytest.fixture
def error(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The one line that the command says of an error."""

    def run(*arguments: str) -> str:
        status = main(list(arguments))
        out, err = capsys.readouterr()
        assert (status, out) == (2, "")
        assert err.startswith("glmheads: ")
        assert err.endswith("\n")
        assert err.count("\n") == 1
        return err.removeprefix("glmheads: ").rstrip("\n")

    return run


def glmheads(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "glmheads.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


class TestNumbers:
    @pytest.mark.parametrize("ending", FORMATS)
    def test_binary_metrics_are_those_of_scikit_learn(self, data, write, report, ending):
        x, y, w = data["x"], data["y"], data["w"]
        found = report(
            write(f"d.{ending}", data), *BINARY, "--weights", "w", "--threshold", "0.25", "--threshold", "0.8"
        )
        p = 1 / (1 + np.exp(-x))
        expected = {
            "average_loss": sk.log_loss(y, p, sample_weight=w),
            "prediction/mean": np.average(p, weights=w),
            "label/mean": np.average(y, weights=w),
            "auc": sk.roc_auc_score(y, x, sample_weight=w),
        }
        for name, threshold in (("", 0.5), ("/positive_threshold_0.25", 0.25), ("/positive_threshold_0.8", 0.8)):
            expected["accuracy" + name] = sk.accuracy_score(y, p > threshold, sample_weight=w)
            expected["precision" + name] = sk.precision_score(y, p > threshold, sample_weight=w)
            expected["recall" + name] = sk.recall_score(y, p > threshold, sample_weight=w)
        assert {key: found["metrics"][key] for key in expected} == pytest.approx(expected, rel=1e-9)
        low, high = found["bounds"]["auc"]
        assert low - 1e-12 <= expected["auc"] <= high + 1e-12
        assert found["bounds"].keys() == {"auc", "auc_precision_recall"}
        assert (found["head"], found["examples"], len(found["files"])) == ("binary", 3000, 1)

    def test_the_other_heads(self, data, write, report):
        file, x, y, count = write("d.parquet", data), data["x"], data["y"], data["count"]
        logistic = report(file, "--head", "logistic", *COLUMNS)["metrics"]
        assert logistic["average_loss"] == pytest.approx(sk.log_loss(y, 1 / (1 + np.exp(-x))))
        regression = report(file, "--head", "regression", *COLUMNS)
        assert regression["metrics"]["average_loss"] == pytest.approx(sk.mean_squared_error(y, x))
        assert regression["bounds"] == {}
        poisson = report(file, "--head", "poisson", "--logits", "x", "--labels", "count")["metrics"]
        assert poisson["prediction/mean"] == pytest.approx(np.exp(x).mean())
        assert poisson["label/mean"] == pytest.approx(count.mean())

    def test_every_metric_of_the_head_is_reported(self, data, write, report):
        head = gh.BinaryClassHead(thresholds=[0.5])
        expected = head.evaluate([(data["y"], data["x"][:, None])])
        found = report(write("d.csv", data), *BINARY, "--threshold", "0.5")["metrics"]
        assert list(found) == list(expected)

    def test_files_of_any_format_add_up(self, data, write, report):
        first, second = ({key: values[rows] for key, values in data.items()} for rows in (slice(700), slice(700, None)))
        whole = report(write("d.csv", data), *BINARY)
        parts = report(write("1.csv", first), write("2.PARQUET", second), *BINARY)
        assert parts["metrics"] == pytest.approx(whole["metrics"], rel=1e-12)
        assert parts["examples"] == 3000

    def test_table_has_every_metric_and_bounds_that_hold(self, data, write, report, capsys):
        file = write("d.csv", data)
        found = report(file, *BINARY, "--threshold", "0.123456")
        assert main(["evaluate", file, *BINARY, "--threshold", "0.123456"]) == 0
        title, _, _, _, *rows = capsys.readouterr().out.splitlines()
        assert title == "binary head, 3,000 examples of 1 file"
        table = {key: list(map(float, cells)) for key, *cells in (row.split() for row in rows)}
        assert {key: cells[0] for key, cells in table.items()} == pytest.approx(found["metrics"], rel=1e-5)
        for key, (low, high) in found["bounds"].items():
            assert table[key][1] <= low <= high <= table[key][2]

    def test_infinite_logits_are_allowed_and_json_stays_valid(self, write, report):
        metrics = report(write("d.csv", "x,y\ninf,0\n-inf,0\n1e400,1\n"), *BINARY)["metrics"]
        assert metrics["average_loss"] is None
        assert metrics["accuracy"] == pytest.approx(2 / 3)

    def test_example_of_weight_zero_is_absent(self, write, report):
        file = write("d.csv", "x,y,w\n1,1,1\nnan,7,0\n")
        assert report(file, *BINARY, "--weights", "w")["metrics"]["label/mean"] == 1


class TestValues:
    @pytest.mark.parametrize(
        "text",
        [
            "x,y\n1,1\n-2.5,0\n",
            "\ufeffx,y\r\n1,1\r\n-2.5,0\r\n",
            'y,note,x\n1,"a, ""b""\nc",1\n\n0,,-2.5\n',
            '"x","y"\n" 1 ","1"\n-25e-1, 0.0',
            "x,y\n1,True\n-2.5,False\n",
            "x,y\n1,TRUE\n-2.5, 0\n",
        ],
    )
    def test_csv_as_people_write_it(self, write, report, text):
        found = report(write("d.csv", text.encode()), *BINARY)
        assert found["examples"] == 2
        assert found["metrics"]["average_loss"] == pytest.approx((np.log1p(np.exp(-1)) + np.log1p(np.exp(-2.5))) / 2)

    @pytest.mark.parametrize("type_", ["float16", "float32", "float64", "int8", "int64"])
    def test_parquet_numbers_of_any_type(self, write, report, type_):
        columns = {"x": pa.array([2, -1, 3]).cast(type_), "y": pa.array([1, 0, 0]).cast(type_)}
        metrics = report(write("d.parquet", columns), *BINARY)["metrics"]
        assert metrics["average_loss"] == pytest.approx(sk.log_loss([1, 0, 0], 1 / (1 + np.exp([-2, 1, -3]))), rel=1e-6)

    @pytest.mark.parametrize(
        "labels",
        [
            pa.array([True, False]),
            pa.array([Decimal("1.0"), Decimal("0.0")]),
            pa.array([1, 0]).dictionary_encode(),
            pa.array([1, 0], pa.uint64()),
            pa.array(["1", "0"], pa.large_string()),
        ],
    )
    def test_parquet_labels_of_any_type(self, write, report, labels):
        metrics = report(write("d.parquet", {"x": [1.0, 2.0], "y": labels}), *BINARY)["metrics"]
        assert metrics["label/mean"] == 0.5

    def test_numbers_may_change_type_from_block_to_block(self, write, report, monkeypatch):
        monkeypatch.setattr(readers, "_BLOCK", 64)
        file = write("d.csv", "x,y\n" + "1,1\n" * 50 + "0.5,0\n" * 50 + "inf,True\n")
        assert report(file, *BINARY)["examples"] == 101

    @pytest.mark.parametrize("as_words", [pa.array, lambda words: pa.array(words).dictionary_encode()])
    @pytest.mark.parametrize("ending", ["csv", "parquet"])
    def test_words(self, data, write, report, ending, as_words):
        words = as_words(np.where(data["y"] == 1, "will leave", "stay, no\nmatter").tolist())
        file = write(f"d.{ending}", {"x": data["x"], "y": words if ending == "parquet" else words.cast(pa.string())})
        found = report(file, *BINARY, "--vocabulary", "stay, no\nmatter", "will leave")["metrics"]
        assert found["auc"] == pytest.approx(sk.roc_auc_score(data["y"], data["x"]))

    def test_words_that_look_like_numbers_stay_words(self, write, report, error):
        file = write("d.csv", "x,y\n1,01\n2,1\n")
        assert report(file, *BINARY, "--vocabulary", "01", "1")["metrics"]["label/mean"] == 0.5
        assert "row 2, column 'y': bad value '1'" in error("evaluate", file, *BINARY, "--vocabulary", "01", "1.0")

    def test_columns_may_have_any_name(self, write, report):
        file = write("d.parquet", {"a.b": [1.0], "y[0]": [1], "a": [{"b": 3.0}]})
        assert (
            report(file, "--head", "regression", "--logits", "a.b", "--labels", "y[0]")["metrics"]["average_loss"] == 0
        )


class TestSeveralValues:
    """Of one option, and what ends them."""

    @pytest.mark.parametrize(
        "options",
        [
            "FILE --threshold 0.25 0.8 --metrics f1 brier_score --by site count",
            "--threshold 0.25 0.8 FILE --metrics f1 brier_score --by=site count",
            "--by site count --metrics f1 brier_score FILE --threshold=0.25 0.8",
            "--metrics=f1 --metrics brier_score --threshold 0.25 --threshold 0.8 FILE --by site --by count",
        ],
    )
    def test_in_any_order(self, data, write, report, options):
        file = write("d.csv", {**data, "site": ["a", "b"] * 1500})
        found = report(*BINARY, *(file if word == "FILE" else word for word in options.split()))
        head = gh.BinaryClassHead(thresholds=[0.25, 0.8], extra_metrics=["f1", "brier_score"])
        assert found["by"] == ["site", "count"]
        assert set(found["metrics"]) == set(head.metrics())

    def test_files_after_two_dashes_are_no_values(self, data, write, capsys):
        arguments = ["--format", "json", "--by", "count", "--", write("d.csv", data)]
        assert main(["evaluate", *BINARY, *arguments]) == 0
        assert json.loads(capsys.readouterr().out)["by"] == ["count"]

    def test_a_word_that_is_not_a_value_is_a_file(self, data, write, report, error):
        file = write("d.csv", data)
        assert error("evaluate", *BINARY, "--threshold", "0.25", "0,8", file).startswith("0,8: No such file")
        assert error("evaluate", *BINARY, "--metrics", "f1", "f2", file).startswith("f2: No such file")
        assert report(*BINARY, "--name", "m", file)["name"] == "m"

    def test_the_standard_input_is_not_a_value(self, data, write, error):
        assert "standard input" in error("evaluate", *BINARY, "--by", "id", "-")


class TestErrors:
    @pytest.mark.parametrize(
        ("row", "column", "value"),
        [
            ("abc,1,1", "x", "'abc'"),
            (",1,1", "x", "''"),
            ("nan,1,1", "x", "'nan'"),
            ("1 2,1,1", "x", "'1 2'"),
            ("1,,1", "y", "''"),
            ("1,yes,1", "y", "'yes'"),
            ("1,nan,1", "y", "'nan'"),
            ("1,2,1", "y", "'2'"),
            ("1,-0.5,1", "y", "'-0.5'"),
            ("1,inf,1", "y", "'inf'"),
            ("1,1,-2", "w", "'-2'"),
            ("1,1,inf", "w", "'inf'"),
            ("1,1,nan", "w", "'nan'"),
            ("1,1,", "w", "''"),
            ("1,1,NA", "w", "'NA'"),
        ],
    )
    @pytest.mark.parametrize("before", [0, 1, 77])
    def test_bad_value_of_csv(self, write, error, monkeypatch, row, column, value, before):
        monkeypatch.setattr(readers, "ROWS", 10)
        monkeypatch.setattr(readers, "_BLOCK", 128)
        file = write("d.csv", "x,y,w\n" + "0.5,1,2\n" * before + row + "\n" + "0.5,0,2\n\n-,-,-\n")
        message = error("evaluate", file, *BINARY, "--weights", "w")
        assert message.startswith(f"{file}, row {before + 1}, column {column!r}: bad value {value}: ")

    @pytest.mark.parametrize(
        ("column", "values", "shown"),
        [
            ("x", [None, 1.0], "null"),
            ("x", [float("nan"), 1.0], "nan"),
            ("x", ["a", "1"], "'a'"),
            ("x", [[1.0], [2.0]], "'[1.0]'"),
            ("x", pa.array([0, 1], pa.timestamp("ns")), "1970-01-01"),
            ("y", pa.array([None, None]), "null"),
            ("y", [3, 1], "3"),
            ("w", pa.array([-1.5, 1], pa.float32()), "-1.5"),
            ("w", pa.array(["no", "1"]).dictionary_encode(), "'no'"),
        ],
    )
    def test_bad_value_of_parquet(self, write, error, column, values, shown):
        good = {"x": [1.0, 2.0, 3.0], "y": [0, 1, 0], "w": [1.0, 0.5, 2.0]}
        whole = write("good.parquet", good)
        file = write("d.parquet", {key: cells[:2] for key, cells in good.items()} | {column: values})
        message = error("evaluate", whole, file, *BINARY, "--weights", "w")
        assert message.startswith(f"{file}, row 1, column {column!r}: bad value {shown}")

    def test_bad_value_far_down(self, write, error):
        y = np.ones(200_000)
        y[123_456] = 2
        file = write("d.parquet", {"x": np.zeros(200_000), "y": y})
        assert "row 123457, column 'y': bad value 2.0: Labels must be" in error("evaluate", file, *BINARY)

    @pytest.mark.parametrize(("head", "label"), [("logistic", "1.5"), ("poisson", "-1"), ("regression", "inf")])
    def test_labels_that_the_head_refuses(self, write, error, head, label):
        message = error("evaluate", write("d.csv", f"x,y\n1,1\n1,{label}\n"), "--head", head, *COLUMNS)
        assert f"row 2, column 'y': bad value '{label}': Labels must be" in message

    @pytest.mark.parametrize("word", ["Leave", "", "a" * 100_000])
    def test_word_outside_the_vocabulary(self, write, error, word):
        file = write("d.csv", f"x,y\n1,leave\n2,{word}\n3,stay\n")
        message = error("evaluate", file, *BINARY, "--vocabulary", "stay", "leave")
        assert f"{file}, row 2, column 'y': bad value '{word[:5]}" in message
        assert message.endswith("not a word of the vocabulary, 'stay' or 'leave'")
        assert len(message) < 500

    def test_missing_word(self, write, error):
        file = write("d.parquet", {"x": [1.0, 2.0], "y": ["stay", None]})
        message = error("evaluate", file, *BINARY, "--vocabulary", "stay", "None")
        assert message.endswith("row 2, column 'y': bad value null: the value is missing")

    @pytest.mark.parametrize("file", ["d.csv", "d.parquet"])
    def test_missing_column(self, write, error, file):
        file = write(file, {"x": [1.0], "label": [1]})
        assert error("evaluate", file, *BINARY) == f"{file}: has no column 'y'; it has 'x', 'label'"

    @pytest.mark.parametrize("file", ["d.csv", "d.parquet"])
    def test_two_columns_of_a_name(self, write, error, file):
        file = write(file, pa.table([[1.0], [0], [1]], names=["x", "y", "y"]))
        assert error("evaluate", file, *BINARY) == f"{file}: has 2 columns 'y'; names must differ"

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("d.csv", b""),
            ("d.csv", b"\n\n"),
            ("d.csv", b"x,y\n"),
            ("d.csv", b"x,y"),
            ("d.parquet", {"x": pa.array([], pa.float64()), "y": pa.array([], pa.float64())}),
            ("d.parquet", b""),
        ],
    )
    def test_empty_file(self, write, error, name, content):
        file = write(name, content)
        message = error("evaluate", write("good.csv", "x,y\n1,1\n"), file, *BINARY)
        assert message.startswith(f"{file}: ")
        assert "empty" in message.lower()

    @pytest.mark.parametrize(
        ("name", "content", "said"),
        [
            ("d.csv", b"x,y\n" + b"1,1\n" * 100 + b"1\n1,1\n", ", row 101: has 1 columns, not 2: '1'"),
            ("d.csv", b"x,y\n1,1\n\n1,1,5\n", ", row 2: has 3 columns, not 2: '1,1,5'"),
            ("d.csv", b"x,y,\xff\n1,1,2\n", ": is not UTF-8 text"),
            ("d.csv", "x,y\n1,1\n".encode("utf-16"), ": is not UTF-8 text but UTF-16: save it as UTF-8"),
            ("d.csv", b"x,y\n1,1\n\xff,\xfe,1\n", ", row 2: has 3 columns, not 2: "),
            ("d.csv", b"x,y\n1,1\n\xff,1\n", ", row 2, column 'x': bad value '\\\\xff': not UTF-8 text"),
            ("d.csv", b'x,y\n1,1\n1,"1\n2,0\n', ", row 2, column 'y': bad value '1\\n2,0\\n': not a number"),
            (
                "d.parquet",
                b"x,y\n1,1\n" * 10,
                ": is damaged, or is not what its name says: Parquet magic bytes not found",
            ),
            ("d.json", b"{}", ": is of an unknown format; the name must end in .csv, .tsv, .parquet, .arrow, "),
            ("d", b"{}", ": is of an unknown format; the name must end in .csv, .tsv, .parquet, .arrow, "),
            ("d.parquet.gz", b"{}", ": is of an unknown format"),
            ("d.csv", b"PAR1" + b"x" * 99, ": is a Parquet file; what it is called, or --input-format, says otherwise"),
            ("d.csv", gzip.compress(b"x,y\n1,1\n", mtime=0), ": is compressed by gzip; what it is called"),
            ("d.jsonl", b"PK\x03\x04", ": is a zip file, as those of spreadsheets are; what it is called"),
            ("d.csv.gz", b"x,y\n1,1\n", ": is damaged, or is not what its name says: zlib"),
            (
                "d.csv.gz",
                gzip.compress(b"x,y\n1,1\n" * 99, mtime=0)[:-9],
                ": is damaged, or is not what its name says: Trunc",
            ),
            ("d.arrow", b"x,y\n1,1\n" * 99, ": is damaged, or is not what its name says: "),
            ("d.feather", b"ARROW1" * 99, ": is damaged, or is not what its name says: "),
            (
                "d.csv",
                b"x;y\n1;1\n",
                ": has no column 'x'; it has 'x;y'. Is it separated by ';'? Then say --delimiter ';'",
            ),
            ("d.csv", b"x\ty\n1\t1\n", ": has no column 'x'; it has 'x\\ty'. Is it separated by '\\t'? Then say --del"),
            ("d.jsonl", b'{"x": 1, "y": 1}\n{"x": 1, "y"\n', """, row 2: is not JSON: '{"x": 1, "y"'"""),
            ("d.jsonl", b'{"x": 1, "y": 1}\n\n[1, 1]\n', ", row 2: is no object {...}: '[1, 1]'"),
            ("d.jsonl", b'{"x": 1, "y": 1}\n{"x": "\xff", "y": 1}\n', ", row 2: is not UTF-8 text"),
            (
                "d.jsonl",
                b'{"x": 1, "y": ' + b"[" * 20_000 + b"\n",
                ": line 1 has more than 64 bytes; is it one object a line?",
            ),
            ("d.jsonl", b'{"x": 1}\n', ": has no column 'y'; it has 'x'"),
            ("d.jsonl", b" \n\n", ": is empty: it has no rows"),
        ],
    )
    def test_file_that_can_not_be_read(self, write, error, monkeypatch, name, content, said):
        monkeypatch.setattr(readers, "_BLOCK", 64)
        file = write(name, content)
        assert error("evaluate", file, *BINARY).startswith(file + said)

    def test_row_that_never_ends(self, write, error, monkeypatch):
        monkeypatch.setattr(readers, "_BLOCK", 64)
        file = write("d.csv", "x,y,note\n" + "1,1,\n" * 40 + '1,1,"\n' + "1,1,\n" * 40)
        assert error("evaluate", file, *BINARY).endswith("has more than 64 bytes; is a quote open?")

    def test_words_that_are_not_utf8(self, write, error):
        message = error("evaluate", write("d.csv", b"x,y\n1,\xff\n"), *BINARY, "--vocabulary", "a", "b")
        assert message.endswith("row 1, column 'y': bad value '\\\\xff': not UTF-8 text")

    @pytest.mark.parametrize("kept", [0.5, 0.99])
    def test_truncated_parquet(self, data, write, error, kept):
        content = Path(write("d.parquet", data)).read_bytes()
        file = write("cut.parquet", content[: int(kept * len(content))])
        assert error("evaluate", file, *BINARY).startswith(f"{file}: ")

    def test_damaged_parquet(self, data, write, error):
        content = bytearray(Path(write("d.parquet", data)).read_bytes())
        content[100:20_000] = b"\xaa" * 19_900
        file = write("damaged.parquet", bytes(content))
        assert error("evaluate", file, *BINARY).startswith(f"{file}: ")

    def test_no_file(self, write, error, tmp_path):
        good = write("good.csv", "x,y\n1,oops\n")
        missing = str(tmp_path / "missing.csv")
        assert error("evaluate", good, missing, *BINARY) == f"{missing}: No such file or directory"
        assert error("evaluate", f"{tmp_path}/no*.csv", *BINARY) == f"{tmp_path}/no*.csv: no file matches"
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(tmp_path / "s.csv"))
            assert error("evaluate", f"{tmp_path}/s.csv", *BINARY) == f"{tmp_path}/s.csv: is not a file"

    @pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
    def test_unreadable_file(self, write, error):
        file = write("d.csv", "x,y\n1,1\n")
        Path(file).chmod(0)
        assert error("evaluate", file, *BINARY) == f"{file}: Permission denied"

    def test_name_with_a_line_break(self, error):
        assert error("evaluate", "a\nb.csv", *BINARY) == "a b.csv: No such file or directory"

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ([], "Missing command"),
            (["evalute"], "No such command 'evalute'"),
            (["evaluate", *BINARY], "Missing argument"),
            (["evaluate", "d.csv", *COLUMNS], "Missing option '--head'"),
            (["evaluate", "d.csv", "--head", "binary", "--logits", "x"], "Missing option '--labels'"),
            (["evaluate", "d.csv", *BINARY, "--head", "softmax"], "'softmax' is not one of 'binary', 'logistic'"),
            (["evaluate", "d.csv", *BINARY, "--colour"], "No such option: --colour"),
            (
                ["evaluate", "d.csv", *BINARY, "--format", "xml"],
                "'xml' is not one of 'table', 'markdown', 'json', 'csv'",
            ),
            (
                ["evaluate", "d.csv", "--head", "binary", "--labels", "y"],
                "Missing option '--logits' or '--probabilities'",
            ),
            (["evaluate", "d.csv", *BINARY, "--probabilities", "p"], "give one of --logits and --probabilities"),
            (["evaluate", "d.csv", *BINARY, "--compare", "x"], "--compare 'x' is the first model's column"),
            (["evaluate", "d.csv", *BINARY, "--by", "a", "b", "a"], "--by has a column twice: 'a', 'b', 'a'"),
            (
                ["evaluate", "d.csv", *BINARY, "--metrics", "f2"],
                "--metrics has names that this head does not know: ['f2']",
            ),
            (["evaluate", "d.csv", *BINARY, "--delimiter", ";;"], "--delimiter is one character, as ';', or tab"),
            (["evaluate", "d.csv", *BINARY, "--min-count", "0"], "Invalid value for '--min-count'"),
            (
                ["evaluate", "d.csv", "--head", "poisson", "--probabilities", "x", "--labels", "y"],
                "--probabilities is for --head binary or logistic, not poisson",
            ),
            (
                ["evaluate", "d.csv", "--head", "regression", *COLUMNS, "--metrics", "f1"],
                "--metrics is for --head binary or logistic, not regression",
            ),
            (["merge"], "Missing argument"),
            (["evaluate", "d.csv", *BINARY, "--threshold", "high"], "Invalid value for '--threshold'"),
            (["evaluate", "d.csv", *BINARY, "--threshold", "1"], "thresholds not in (0, 1)"),
            (["evaluate", "d.csv", *BINARY, "--threshold", "nan"], "thresholds not in (0, 1)"),
            (["evaluate", "d.csv", *BINARY, "--vocabulary", "a", "a"], "two different words"),
            (["evaluate", "d.csv", *BINARY, "--vocabulary", "a"], "'--vocabulary' requires 2 arguments"),
            (
                ["evaluate", "d.csv", "--head", "poisson", *COLUMNS, "--threshold", "0.5"],
                "--threshold is for --head binary",
            ),
            (
                ["evaluate", "d.csv", "--head", "logistic", *COLUMNS, "--vocabulary", "a", "b"],
                "--vocabulary is for --head binary, not logistic",
            ),
        ],
    )
    def test_usage(self, error, arguments, said):
        assert said in error(*arguments)


class TestSources:
    def test_directories_patterns_and_files_of_any_format(self, data, write, report, tmp_path, capsys):
        whole = report(write("all.csv", data), *BINARY)
        (tmp_path / "logs" / "deep" / "_temporary").mkdir(parents=True)
        pieces = np.array_split(np.arange(3000), len(FORMATS))
        for place, ending, rows in zip(["", "deep/"] * 5, FORMATS, pieces, strict=False):
            write(f"logs/{place}part.{ending}", {key: values[rows] for key, values in data.items()})
        for name in ("README.md", ".hidden.csv", "_SUCCESS.csv", "deep/_temporary/1.csv"):
            write(f"logs/{name}", "no data")
        found = report(str(tmp_path / "logs"), *BINARY)
        assert found["metrics"] == pytest.approx(whole["metrics"], rel=1e-12)
        assert found["examples"] == 3000
        assert sorted(found["files"]) == sorted(str(path) for path in (tmp_path / "logs").rglob("part.*"))
        in_pattern = report(f"{tmp_path}/logs/part.*", f"{tmp_path}/logs/deep/part*", *BINARY)
        assert in_pattern["metrics"] == pytest.approx(whole["metrics"], rel=1e-12)

    def test_links_in_a_directory(self, write, report, error, tmp_path):
        logs, elsewhere = tmp_path / "logs", tmp_path / "elsewhere"
        for folder in (logs, elsewhere):
            folder.mkdir()
        write("elsewhere/1.csv", "x,y\n1,1\n")
        (logs / "link").symlink_to(elsewhere)
        (logs / "loop").symlink_to(logs)
        assert report(str(logs), *BINARY)["examples"] == 1
        (logs / "2.csv").symlink_to(elsewhere / "gone.csv")
        assert error("evaluate", str(logs), *BINARY) == f"{logs}/2.csv: No such file or directory"

    def test_file_whose_name_looks_like_a_pattern(self, data, write, report):
        assert report(write("d[1].csv", data), *BINARY)["examples"] == 3000

    def test_directory_without_data(self, write, error, tmp_path):
        write("README.md", "x,y\n1,1\n")
        assert error("evaluate", str(tmp_path), *BINARY).startswith(
            f"{tmp_path}: has no files to read; their names must"
        )

    def test_file_without_rows_is_in_order_in_a_directory_with_others(self, write, report, error, tmp_path):
        write("1.csv", "x,y\n")
        assert "neither it nor what else was read has rows" in error("evaluate", str(tmp_path), *BINARY)
        write("2.csv", "x,y\n1,1\n")
        assert report(str(tmp_path), *BINARY)["examples"] == 1
        write("3.csv", "")
        assert error("evaluate", str(tmp_path), *BINARY) == f"{tmp_path}/3.csv: is empty"

    @pytest.mark.parametrize("ending", ["csv", "csv.gz", "jsonl", "arrow"])
    def test_pipe(self, data, write, report, ending):
        whole = report(write("d.csv", data), *BINARY)["metrics"]
        file = Path(write(f"d.{ending}", data))
        content = gzip.decompress(file.read_bytes()) if ending == "csv.gz" else file.read_bytes()
        arguments = ["evaluate", "-", *BINARY, "--format", "json", "--input-format", ending.partition(".")[0]]
        command = [sys.executable, "-m", "glmheads.cli", *arguments]
        done = subprocess.run(command, input=content, capture_output=True, timeout=60, check=True)
        found = json.loads(done.stdout)
        assert found["metrics"] == whole
        assert found["files"] == ["-"]

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
    def test_named_pipe(self, report, error, tmp_path):
        pipe = tmp_path / "p.csv"
        os.mkfifo(pipe)
        thread = threading.Thread(target=pipe.write_text, args=("x,y\n1,1\n2,0\n",))
        thread.start()
        assert report(str(pipe), *BINARY)["examples"] == 2
        thread.join()
        pipe = pipe.rename(tmp_path / "p.parquet")
        assert error("evaluate", str(pipe), *BINARY).endswith("can't come through a pipe: save it first")

    def test_pipe_of_unknown_format(self, error):
        message = error("evaluate", "-", *BINARY)
        assert message == "standard input: is of an unknown format; say --input-format csv or parquet or arrow or jsonl"

    def test_file_of_another_name(self, write, report):
        assert (
            report(write("data.txt", "x y\n1 1\n"), *BINARY, "--input-format", "csv", "--delimiter", " ")["examples"]
            == 1
        )

    def test_same_file_twice(self, write, report, error, tmp_path):
        file = write("d.csv", "x,y\n1,1\n")
        (tmp_path / "link.csv").symlink_to(file)
        for other in (file, str(tmp_path), f"{tmp_path}/../{tmp_path.name}/d.csv", f"{tmp_path}/link.csv"):
            assert error("evaluate", file, other, *BINARY).startswith(f"{file} would be counted twice")
        assert report(file, file, *BINARY, "--again")["examples"] == 2

    def test_column_that_is_missing_in_one_file(self, write, error):
        first, second = write("1.csv", "x,y\n1,1\n"), write("2.parquet", {"x": [1.0], "label": [1]})
        assert error("evaluate", first, second, *BINARY) == f"{second}: has no column 'y'; it has 'x', 'label'"

    def test_types_may_differ_between_files(self, write, report):
        files = [
            write("1.csv", "x,y,s\n1,1,2\n"),
            write("2.parquet", {"x": pa.array([1, 2], pa.float32()), "y": [True, False], "s": [1, 2]}),
            write(
                "3.jsonl", '{"x": "1", "y": 0.5, "s": 2}\n{"x": 1e999, "y": true}\n{"x": -Infinity, "y": "0", "s": "z"}'
            ),
            write("4.feather", {"x": pa.array([1, 2], pa.decimal128(5)), "y": pa.array(["1", "0"]), "s": [1.0, 2.5]}),
        ]
        found = report(*files, *BINARY, "--by", "s")
        assert found["examples"] == 8
        assert [(piece["key"]["s"], piece["examples"]) for piece in found["slices"]] == [
            (1, 2),
            (2, 3),
            (2.5, 1),
            ("z", 1),
            (None, 1),
        ]

    def test_file_that_changes_while_it_is_read(self, data, write, error, monkeypatch):
        file = write("d.csv", data)

        def add(self: Any, part: Any) -> None:
            with Path(file).open("a") as more:
                more.write("0,0,0,0,0\n")

        monkeypatch.setattr(examples.Models, "add", add)
        assert error("evaluate", file, *BINARY) == f"{file}: has changed while it was read: evaluate a copy"

    def test_file_that_is_deleted_while_it_is_read(self, data, write, error, monkeypatch):
        first, second = write("1.csv", data), write("2.csv", data)
        monkeypatch.setattr(examples.Models, "add", lambda *_: Path(second).unlink(missing_ok=True))
        assert error("evaluate", first, second, *BINARY) == f"{second}: No such file or directory"

    def test_name_that_is_no_text(self, tmp_path, error):
        assert (
            error("evaluate", os.fsdecode(b"\xff\x1b31m.csv"), *BINARY)
            == r"\udcff\x1b31m.csv: No such file or directory"
        )


class TestJsonLines:
    @pytest.mark.parametrize(
        "lines",
        [
            ['{"x": 1, "y": 1}', '{"x": -2.5, "y": 0}'],
            ['\ufeff{"y": true, "more": [{}], "x": 1.0}\r', "", '{"x": -25e-1, "y": false}\r'],
            ['{"x": "1", "y": 1.0, "x": "1"}', '{"y": "FALSE", "x": " -2.5 ", "more": {"x": 3}}'],
        ],
    )
    @pytest.mark.parametrize("end", ["", "\n", "\n\n"])
    def test_as_people_write_them(self, write, report, monkeypatch, lines, end):
        for block in (64, 1 << 20):
            monkeypatch.setattr(readers, "_BLOCK", block)
            found = report(write("d.jsonl", ("\n".join(lines) + end).encode()), *BINARY)
            assert found["examples"] == 2
            loss = (np.log1p(np.exp(-1)) + np.log1p(np.exp(-2.5))) / 2
            assert found["metrics"]["average_loss"] == pytest.approx(loss)

    @pytest.mark.parametrize(
        ("row", "column", "said"),
        [
            ('{"x": null, "y": 1}', "x", "bad value null: the value is missing"),
            ('{"y": 1}', "x", "bad value null: the value is missing"),
            ('{"x": NaN, "y": 1}', "x", "bad value nan: one of the logits must not be NaN"),
            ('{"x": [1], "y": 1}', "x", "bad value '[1]': not a number"),
            ('{"x": 1, "y": {}}', "y", "bad value '{}': not a number"),
            ('{"x": 1, "y": 7}', "y", "bad value 7: Labels must be <= 2 - 1"),
            ('{"x": "\\ud800", "y": 7}', "x", r"bad value '\\ud800': not a number"),
            (
                '{"x": 1' + "0" * 400 + ', "y": 1' + "0" * 30 + "}",
                "y",
                "bad value '100000000000...0000000000000': Labels",
            ),
        ],
    )
    @pytest.mark.parametrize("before", [0, 77])
    def test_bad_value(self, write, error, monkeypatch, row, column, said, before):
        monkeypatch.setattr(readers, "ROWS", 10)
        monkeypatch.setattr(readers, "_BLOCK", 512)
        file = write("d.jsonl", '{"x": 1, "y": 1}\n' * before + row + '\n{"x": 2, "y": 0}\n')
        assert error("evaluate", file, *BINARY).startswith(f"{file}, row {before + 1}, column {column!r}: {said}")

    def test_column_of_slices_may_be_missing_but_not_everywhere(self, write, report, error, monkeypatch):
        monkeypatch.setattr(readers, "_BLOCK", 64)
        file = write("d.jsonl", '{"x": 1, "y": 1}\n' * 99 + '{"x": 1, "y": 0, "s": "a"}\n')
        slices = report(file, *BINARY, "--by", "s")["slices"]
        assert [(piece["key"], piece["examples"]) for piece in slices] == [({"s": "a"}, 1), ({"s": None}, 99)]
        assert error("evaluate", file, *BINARY, "--by", "t") == f"{file}: has no column 't' in any row"


class TestScores:
    def test_probabilities(self, data, write, report, error):
        p = 1 / (1 + np.exp(-data["x"]))
        file = write("d.parquet", {**data, "p": p})
        by_logits = report(file, *BINARY)["metrics"]
        found = report(file, "--head", "binary", "--probabilities", "p", "--labels", "y")["metrics"]
        assert found == pytest.approx(by_logits, rel=1e-9)
        message = error("evaluate", file, "--head", "logistic", "--probabilities", "x", "--labels", "y")
        row = int(np.flatnonzero((data["x"] < 0) | (data["x"] > 1))[0])
        assert message.startswith(f"{file}, row {row + 1}, column 'x': bad value {data['x'][row]}")
        assert message.endswith("probabilities must be in [0, 1]. Are they logits? Then say --logits")

    def test_more_metrics(self, data, write, report):
        x, y, w = data["x"], data["y"], data["w"]
        p = 1 / (1 + np.exp(-x))
        found = report(write("d.csv", data), *BINARY, "--weights", "w", "--metrics", "brier_score", "f1", "--name", "m")
        assert list(found["metrics"])[-2:] == ["brier_score/m", "f1/m"]
        assert found["name"] == "m"
        expected = [sk.brier_score_loss(y, p, sample_weight=w), sk.f1_score(y, p > 0.5, sample_weight=w)]
        assert list(found["metrics"].values())[-2:] == pytest.approx(expected)
        everything = report(write("d.csv", data), *BINARY, "--metrics", "all")["metrics"]
        assert {"f1", "calibration_slope", "matthews_correlation"} < set(everything)

    def test_compare(self, data, write, report, error, capsys):
        z = data["x"] + np.random.default_rng(1).normal(size=3000)
        file = write("d.parquet", {**data, "z": z})
        options = [*BINARY, "--by", "count"]
        one = report(file, *options)
        other = report(file, "--head", "binary", "--logits", "z", *options[4:])
        both = report(file, *options, "--compare", "z")
        assert both["models"] == ["x", "z"]
        for pair, first, second in zip(
            [both, *both["slices"]], [one, *one["slices"]], [other, *other["slices"]], strict=True
        ):
            assert pair["metrics"] == first["metrics"]
            assert pair["compared"] == {key: second[key] for key in ("metrics", "bounds")}
            for key, difference in pair["difference"].items():
                assert difference == second["metrics"][key] - first["metrics"][key]
        assert main(["evaluate", file, *options, "--compare", "z"]) == 0
        text = capsys.readouterr().out
        assert text.startswith("binary head, 3,000 examples of 1 file: x and z\n")
        auc = next(line.split() for line in text.splitlines() if line.split()[:1] == ["auc"])
        assert float(auc[3]) == pytest.approx(both["difference"]["auc"], rel=1e-5)
        assert float(auc[4]) <= both["difference"]["auc"] <= float(auc[5])
        nan = write("nan.csv", "x,z,y\n1,1,1\n1,nan,1\n")
        assert error("evaluate", nan, *BINARY, "--compare", "z").startswith(
            f"{nan}, row 2, column 'z': bad value 'nan'"
        )


class TestSlices:
    @pytest.mark.parametrize("ending", FORMATS)
    def test_a_slice_is_what_its_rows_are_alone(self, data, write, report, ending):
        site = np.where(data["w"] > 2, "north", "süd")
        file = write(f"d.{ending}", {**data, "site": site})
        found = report(file, *BINARY, "--by", "site", "count", "--min-count", "100", "--weights", "w")
        assert (found["by"], found["min_count"]) == (["site", "count"], 100)
        keys = [(piece["key"]["site"], piece["key"]["count"]) for piece in found["slices"]]
        counts = {
            (s, int(c)): int(((site == s) & (data["count"] == c)).sum()) for s in ("north", "süd") for c in range(20)
        }
        assert keys == sorted(key for key, count in counts.items() if count >= 100)
        assert sum(piece["examples"] for piece in found["slices"]) + found["other"]["examples"] == 3000
        assert found["other"]["slices"] == sum(0 < count < 100 for count in counts.values())
        for piece in found["slices"]:
            rows = (site == piece["key"]["site"]) & (data["count"] == piece["key"]["count"])
            auc = sk.roc_auc_score(data["y"][rows], data["x"][rows], sample_weight=data["w"][rows])
            assert piece["metrics"]["auc"] == pytest.approx(auc)
            assert piece["examples"] == rows.sum()

    def test_words_of_text_files_that_are_numbers(self, write, report):
        words = ["10", "9", "007", "-1", "1.5", "1e3", "nan", "", "inf", "x" * 50, "٣", "1_0", "+1", "-0"]
        rows = "".join(f'1,1,"{word}"\n' for word in words)
        found = report(write("d.csv", f"x,y,s\n{rows}"), *BINARY, "--by", "s")
        keys = [piece["key"]["s"] for piece in found["slices"]]
        assert keys == [-1, 1.5, 9, 10, *sorted({*words} - {"-1", "1.5", "9", "10", ""}), None]

    def test_a_column_may_have_two_parts_to_play(self, data, write, report):
        found = report(write("d.csv", data), *BINARY, "--by", "y", "x", "--min-count", "3000")
        assert found["other"]["examples"] == 3000
        assert [piece["key"] for piece in report(write("d.csv", data), *BINARY, "--by", "y")["slices"]] == [
            {"y": 0},
            {"y": 1},
        ]

    def test_too_many_slices(self, data, write, error, monkeypatch):
        monkeypatch.setattr(examples, "MOST_SLICES", 1000)
        message = error("evaluate", write("d.csv", data), *BINARY, "--by", "id")
        assert message.endswith("there are 3,000 slices, and the most are 1,000: give columns of fewer values to --by")

    @pytest.mark.parametrize("values", [[[1], [2]], [{"a": 1}, None], [b"\xff", b"1"]])
    def test_columns_that_tell_no_slices(self, write, error, values):
        file = write("d.parquet", {"x": [1.0, 2.0], "y": [0, 1], "s": values})
        assert error("evaluate", file, *BINARY, "--by", "s").startswith(f"{file}, row 1, column 's': bad value ")

    def test_min_count_needs_slices(self, data, write, error):
        assert "--min-count is for slices" in error("evaluate", write("d.csv", data), *BINARY, "--min-count", "2")


class TestFormats:
    @pytest.fixture
    def file(self, write) -> str:
        rows = ["1,0.5,1,a", "2,-1,0,b", "-1,0,0,a", "inf,1,0,\x1b[31m|*red*", "3,1,1,"]
        return write("d.csv", "x,z,y,s\n" + "\n".join(rows))

    def test_csv_has_what_json_has(self, file, report, capsys):
        options = [*BINARY, "--by", "s", "--compare", "z", "--threshold", "0.25"]
        found = report(file, *options)
        assert main(["evaluate", file, *options, "--format", "csv"]) == 0
        rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
        pieces = [found, *found["slices"]]
        assert len(rows) == sum(len(piece["metrics"]) for piece in pieces)
        for row, (piece, metric) in zip(rows, ((p, m) for p in pieces for m in p["metrics"]), strict=True):
            assert row["part"] == ("whole" if piece is found else "slice")
            assert row["s"] == ("" if piece is found else piece["key"]["s"] or "")
            assert (int(row["examples"]), row["metric"]) == (piece["examples"], metric)
            low, high = piece["bounds"].get(metric, (None, None))
            expected = {"value": piece["metrics"][metric], "at_least": low, "at_most": high}
            expected |= {"compared": piece["compared"]["metrics"][metric], "difference": piece["difference"][metric]}
            for key, number in expected.items():
                cell = float(row[key] or "nan")
                assert cell == number or (number is None and not np.isfinite(cell))

    def test_markdown(self, file, capsys):
        assert main(["evaluate", file, *BINARY, "--by", "s", "--format", "markdown"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[:4] == [
            "binary head, 5 examples of 1 file",
            "",
            "| metric | value | at least | at most |",
            "| --- | ---: | ---: | ---: |",
        ]
        tables = [line for line in lines if line.startswith("|")]
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in tables[:11]} == {5}
        assert any(line.startswith(r"| \\x1b\[31m\|\*red\* | 1 |") for line in tables)
        assert any(line.startswith("| (missing) | 1 |") for line in tables)

    @pytest.mark.parametrize("columns", ["80", "100", "200"])
    def test_tables_are_whole_at_any_width(self, file, report, capsys, monkeypatch, columns):
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", columns)
        found = report(file, *BINARY, "--by", "s", "--compare", "z")
        assert main(["evaluate", file, *BINARY, "--by", "s", "--compare", "z"]) == 0
        text = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out)
        assert "\x1b" not in text
        assert max(map(len, text.splitlines()[1:])) <= int(columns)
        assert "…" not in text
        assert all(text.count(metric) >= 2 for metric in found["metrics"])

    def test_colours_only_on_a_terminal_that_wants_them(self, file, capsys, monkeypatch):
        def printed(**environment: str) -> str:
            with monkeypatch.context() as patch:
                for name, value in environment.items():
                    patch.setenv(name, value)
                assert main(["evaluate", file, *BINARY, "--compare", "z"]) == 0
            return capsys.readouterr().out

        assert "\x1b" not in printed()
        coloured = printed(FORCE_COLOR="1", TERM="xterm-256color")
        assert "\x1b[31m" in coloured or "\x1b[32m" in coloured
        assert not re.search("\x1b\\[3[0-9]m", printed(FORCE_COLOR="1", TERM="xterm-256color", NO_COLOR="1"))

    def test_output(self, file, report, capsys, tmp_path):
        for form in ("json", "csv", "markdown", "table"):
            assert main(["evaluate", file, *BINARY, "--format", form]) == 0
            printed = capsys.readouterr().out
            out = tmp_path / "out.txt"
            out.write_text("old")
            out.chmod(0o640)
            assert main(["evaluate", file, *BINARY, "--format", form, "--output", str(out)]) == 0
            assert capsys.readouterr() == ("", "")
            assert out.read_text() == printed
            assert out.stat().st_mode & 0o777 == 0o640
        assert sorted(path.name for path in tmp_path.iterdir()) == ["d.csv", "out.txt"]

    def test_output_that_can_not_be_written(self, file, error, tmp_path):
        before = Path(file).read_bytes()
        (tmp_path / "link.csv").symlink_to(file)
        for option in ("--output", "--save"):
            for other in (file, f"{tmp_path}/link.csv"):
                assert f"{option} {other} is one of the files that are read" in error(
                    "evaluate", file, *BINARY, option, other
                )
            assert error("evaluate", file, *BINARY, option, str(tmp_path)).startswith(f"{tmp_path}: is a directory")
            assert "there is no directory" in error("evaluate", file, *BINARY, option, f"{tmp_path}/no/out")
            if Path("/dev/full").exists():
                assert error("evaluate", file, *BINARY, option, "/dev/full") == "/dev/full: No space left on device"
        assert "is to be written twice" in error("evaluate", file, *BINARY, "--save", "same", "--output", "same")
        assert Path(file).read_bytes() == before

    def test_what_the_terminal_has_no_character_for(self, file):
        environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
        done = glmheads("evaluate", file, *BINARY, "--by", "s", "--compare", "z", env=environment)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.isascii()


class TestPieces:
    @pytest.fixture
    def pieces(self, data, write) -> list[str]:
        site = np.where(data["w"] > 2, "north", "south")
        table = {**data, "z": -data["x"], "site": site}
        parts = [slice(0, 700), slice(700, 1000), slice(1000, 3000)]
        endings = ("csv", "parquet", "jsonl")
        for name, rows in zip(endings, parts, strict=True):
            write(f"{name}.{name}", {key: values[rows] for key, values in table.items()})
        return [
            write(f"{name}.{name}", {key: v[rows] for key, v in table.items()})
            for name, rows in zip(endings, parts, strict=True)
        ]

    OPTIONS = (*BINARY, "--weights", "w", "--by", "site", "--metrics", "f1")

    def same(self, found: dict[str, Any], whole: dict[str, Any]) -> None:
        assert found.keys() == whole.keys()
        assert sorted(found["files"]) == sorted(whole["files"])
        assert found["examples"] == whole["examples"]
        for one, other in zip([found, *found["slices"]], [whole, *whole["slices"]], strict=True):
            assert one["metrics"] == pytest.approx(other["metrics"], rel=1e-6)
            for key, (low, high) in one["bounds"].items():
                assert low <= other["bounds"][key][1] + 1e-12
                assert high >= other["bounds"][key][0] - 1e-12

    def test_resumed_is_evaluated_at_once(self, pieces, report, tmp_path):
        whole = report(*pieces, *self.OPTIONS)
        saved = str(tmp_path / "saved.npz")
        report(pieces[0], *self.OPTIONS, "--save", saved)
        report(pieces[1], *self.OPTIONS, "--resume", saved, "--save", saved)
        self.same(report(pieces[2], *self.OPTIONS, "--resume", saved), whole)

    def test_merged_in_any_order_is_evaluated_at_once(self, pieces, report, tmp_path, capsys):
        whole = report(*pieces, *self.OPTIONS)
        saved = [str(tmp_path / f"{index}.npz") for index in range(3)]
        for piece, file in zip(pieces, saved, strict=True):
            report(piece, *self.OPTIONS, "--save", file)
        for order in ([0, 1, 2], [2, 0, 1]):
            assert main(["merge", *(saved[i] for i in order), "--format", "json", "--save", str(tmp_path / "all")]) == 0
            self.same({**json.loads(capsys.readouterr().out), "models": ["x"]}, whole)
        assert main(["merge", str(tmp_path / "all"), "--format", "json"]) == 0
        self.same({**json.loads(capsys.readouterr().out), "models": ["x"]}, whole)
        loaded = gh.Evaluation.load(tmp_path / "all")
        assert loaded.head == gh.BinaryClassHead("w", extra_metrics=["f1"])
        assert loaded.results == pytest.approx(whole["metrics"], rel=1e-6)

    def test_pages(self, pieces, report, error, tmp_path, capsys):
        pytest.importorskip("matplotlib")
        page, other, saved = (tmp_path / name for name in ("page.html", "other.html", "saved.npz"))
        found = report(*pieces, *self.OPTIONS, "--report", str(page), "--save", str(saved))
        text = page.read_text()
        assert text.startswith("<!DOCTYPE html>")
        assert f"{found['examples']:,}" in text
        assert f"{found['metrics']['average_loss']:.6g}" in text
        assert main(["merge", str(saved), "--report", str(other), "--format", "json"]) == 0
        capsys.readouterr()
        assert f"{found['metrics']['average_loss']:.6g}" in other.read_text()
        options = [*self.OPTIONS, "--compare", "z"]
        assert "--report is given 1 times for 2 models" in error("evaluate", pieces[0], *options, "--report", str(page))
        report(*pieces, *options, "--report", str(page), "--report", str(other))
        assert page.read_text() != other.read_text()
        assert "is to be written twice" in error(
            "evaluate", pieces[0], *self.OPTIONS, "--report", str(page), "--output", str(page)
        )

    def test_two_models(self, pieces, report, error, tmp_path, capsys):
        whole = report(*pieces, *self.OPTIONS, "--compare", "z")
        x, z = str(tmp_path / "x.npz"), str(tmp_path / "z.npz")
        options = [*self.OPTIONS, "--compare", "z"]
        assert "--save is given 1 times for 2 models" in error("evaluate", pieces[0], *options, "--save", x)
        report(*pieces[:2], *options, "--save", x, "--save", z)
        assert "--resume is given 1 times for 2 models" in error("evaluate", pieces[2], *options, "--resume", x)
        found = report(pieces[2], *options, "--resume", x, "--resume", z, "--save", x, "--save", z)
        self.same(found, whole)
        assert found["difference"] == pytest.approx(whole["difference"], rel=1e-6)
        assert main(["merge", x, "--compare", z, "--format", "json"]) == 0
        merged = json.loads(capsys.readouterr().out)
        assert merged["models"] == [x, z]
        assert merged["difference"] == pytest.approx(found["difference"], rel=1e-6)
        report(pieces[0], *self.OPTIONS, "--save", str(tmp_path / "part.npz"))
        assert "are not of the same data" in error("merge", x, "--compare", str(tmp_path / "part.npz"))

    def test_nothing_is_counted_twice(self, pieces, report, error, tmp_path, capsys):
        saved, other = str(tmp_path / "1.npz"), str(tmp_path / "2.npz")
        report(pieces[0], *self.OPTIONS, "--save", saved)
        message = error("evaluate", *pieces, *self.OPTIONS, "--resume", saved, "--save", saved)
        assert message.startswith(f"{pieces[0]} would be counted twice, it is in the files to read and in {saved}; if")
        assert report(*pieces, *self.OPTIONS, "--resume", saved, "--again", "--save", other)["examples"] == 3700
        assert f"{pieces[0]} would be counted twice, it is in {saved} and in {other}" in error("merge", saved, other)
        assert main(["merge", saved, other, "--again", "--format", "json"]) == 0
        assert json.loads(capsys.readouterr().out)["examples"] == 4400

    def test_a_pipe_may_be_resumed(self, write, report, tmp_path):
        file, saved = write("d.csv", "x,y\n1,1\n"), str(tmp_path / "s.npz")
        for expected in (1, 2):
            resume = ["--resume", saved] if expected == 2 else []
            command = [sys.executable, "-m", "glmheads.cli", "evaluate", "-", "--input-format", "csv", *BINARY, *resume]
            with Path(file).open() as stdin:
                pipe = subprocess.run(
                    [*command, "--save", saved], input=stdin.read().encode(), capture_output=True, check=True
                )
            assert f"{expected} examples of 1 file" in pipe.stdout.decode()

    def test_what_does_not_add_up(self, pieces, report, error, tmp_path):
        names = ("by", "plain", "threshold", "poisson")
        by, plain, threshold, poisson = (str(tmp_path / f"{name}.npz") for name in names)
        report(pieces[0], *BINARY, "--by", "site", "--save", by)
        report(pieces[1], *BINARY, "--save", plain)
        report(pieces[2], *BINARY, "--threshold", "0.3", "--save", threshold)
        report(pieces[2], "--head", "poisson", "--logits", "x", "--labels", "count", "--save", poisson)
        assert error("merge", plain, by).startswith(
            f"{by}: does not add up with {plain}: evaluations by different columns"
        )
        assert "is of BinaryClassHead(thresholds=[0.3]), and" in error("merge", plain, threshold)
        assert "is of PoissonRegressionHead(), and" in error("merge", plain, poisson)
        assert "is of a differently configured head" in error("evaluate", pieces[0], *BINARY, "--resume", threshold)
        assert f"{by} has slices by site: give --by site" in error("evaluate", pieces[2], *BINARY, "--resume", by)
        assert f"{plain} has no slices: leave --by out" in error(
            "evaluate", pieces[2], *BINARY, "--by", "site", "--resume", plain
        )
        assert "--save" in error("merge", plain, by, "--save", plain)
        assert "--min-count is for slices" in error("merge", plain, "--min-count", "3")

    def test_files_that_nobody_saved(self, pieces, report, error, tmp_path):
        saved = tmp_path / "s.npz"
        report(pieces[0], *self.OPTIONS, "--save", str(saved))
        content = saved.read_bytes()
        foreign = tmp_path / "f.npz"
        for bad in (b"", b"x,y", content[:-40], content[:2000]):
            foreign.write_bytes(bad)
            assert error("merge", str(foreign)).startswith(f"{foreign}")
        np.savez(foreign, a=[1])
        assert error("merge", str(foreign)).startswith(f"{foreign} is not a file of a glmheads evaluation")
        assert error("merge", str(tmp_path / "none.npz")).endswith("No such file or directory")
        assert error("evaluate", pieces[1], *self.OPTIONS, "--resume", str(foreign)).startswith(
            f"{foreign} is not a file"
        )

    def test_interrupt_leaves_what_was_there(self, pieces, report, tmp_path, monkeypatch):
        saved = tmp_path / "s.npz"
        report(pieces[0], *self.OPTIONS, "--save", str(saved))
        before = saved.read_bytes()
        real = Path.replace

        def interrupted(*_: Any) -> Any:
            raise KeyboardInterrupt

        monkeypatch.setattr(Path, "replace", interrupted)
        arguments = ["evaluate", pieces[1], *self.OPTIONS, "--resume", str(saved), "--save", str(saved)]
        assert main(arguments) == 130
        monkeypatch.setattr(Path, "replace", real)
        assert saved.read_bytes() == before
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*(Path(p).name for p in pieces), "s.npz"])


class TestHostileFiles:
    """Whatever a file holds, the command ends with a report or with one line."""

    @pytest.fixture(scope="class")
    @classmethod
    def contents(cls, tmp_path_factory) -> dict[str, bytes]:
        rng = np.random.default_rng(0)
        table = pa.table({"x": rng.normal(size=40), "y": rng.integers(0, 2, 40), "s": rng.choice(["a", "b"], 40)})
        folder = tmp_path_factory.mktemp("whole")
        for ending in FORMATS:
            write_table(table, folder / f"d.{ending}")
        return {ending: (folder / f"d.{ending}").read_bytes() for ending in FORMATS}

    @pytest.mark.parametrize("ending", FORMATS)
    @settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.data())
    def test_damage(self, contents, tmp_path, capsys, ending, data):
        content = bytearray(contents[ending])
        for _ in range(data.draw(st.integers(1, 3))):
            place = data.draw(st.integers(0, len(content)))
            match data.draw(st.sampled_from(["cut", "insert", "flip", "delete"])):
                case "cut":
                    del content[place:]
                case "insert":
                    odd = [b"\xff", b"\0", b'"', b"\n", b"{", b"nan", b"1e999", b"null", b"[[", b",", b"\r"]
                    content[place:place] = data.draw(st.sampled_from(odd) | st.binary(max_size=20))
                case "flip" if place < len(content):
                    content[place] ^= 1 << data.draw(st.integers(0, 7))
                case "delete":
                    del content[place : place + data.draw(st.integers(1, 30))]
        file = tmp_path / f"d.{ending}"
        file.write_bytes(content)
        status = main(["evaluate", str(file), *BINARY, "--by", "s", "--format", "json"])
        out, err = capsys.readouterr()
        if status == 0:
            assert err == ""
            json.loads(out, parse_constant=pytest.fail)
        else:
            assert (status, out) == (2, "")
            assert re.fullmatch(rf"glmheads: {re.escape(str(file))}\W.*\n", err)


class TestProcess:
    def test_help_and_version(self):
        assert glmheads("--version").stdout == f"glmheads {gh.__version__}\n"
        text = glmheads("evaluate", "--help", env={**os.environ, "COLUMNS": "80"})
        assert text.returncode == 0
        assert "glmheads evaluate clicks.parquet --head binary --logits x --labels clicked" in text.stdout

    def test_streams(self, write):
        good = glmheads("evaluate", write("d.csv", "x,y\n1,1\n"), *BINARY)
        assert (good.returncode, good.stderr) == (0, "")
        bad = glmheads("evaluate", write("d.csv", "x,y\n1,3\n"), *BINARY)
        assert (bad.returncode, bad.stdout, bad.stderr.count("\n")) == (2, "", 1)

    @pytest.mark.parametrize("missing", ["pyarrow", "rich", "typer"])
    def test_without_the_extra(self, missing):
        block = f"import sys; sys.modules[{missing!r}] = None; from glmheads.cli import main; sys.exit(main())"
        done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"glmheads: the command line needs {missing}: pip install 'glmheads[cli]'\n"

    def test_progress_on_a_terminal(self, data, write):
        pty = pytest.importorskip("pty")
        terminal, stderr = pty.openpty()
        command = [sys.executable, "-m", "glmheads.cli", "evaluate", write("d.csv", data), *BINARY, "--format", "json"]
        env = {**os.environ, "TERM": "xterm"}
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr, timeout=60, check=True, env=env)
        os.close(stderr)
        shown = os.read(terminal, 1 << 20).decode()
        os.close(terminal)
        assert "3,000 rows" in shown
        assert "100%" in shown
        assert json.loads(done.stdout)["examples"] == 3000

    def test_nothing_is_shown_where_there_is_no_terminal(self, data, write):
        done = glmheads("evaluate", write("d.csv", data), *BINARY, env={**os.environ, "TERM": "xterm"})
        assert done.stderr == ""
        assert "\x1b" not in done.stdout

    @pytest.mark.parametrize(
        ("typed", "expected"),
        [
            ("glmheads ev", "evaluate"),
            ("glmheads me", "merge"),
            ("glmheads evaluate --prob", "--probabilities"),
            ("glmheads evaluate --head poi", "poisson"),
            ("glmheads evaluate --metrics brier", "brier_score"),
        ],
    )
    def test_shell_completion(self, typed, expected):
        words = typed.split()
        request = {"_GLMHEADS_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(words) - 1)}
        assert expected in glmheads(env={**os.environ, **request}).stdout.split()

    @pytest.mark.skipif(os.name != "posix", reason="closes as shells do")
    def test_closed_streams(self, write):
        command = f"{shlex.quote(sys.executable)} -m glmheads.cli evaluate {{}} {shlex.join(BINARY)}"
        file = shlex.quote(write("d.csv", "x,y\n1,1\n"))
        for arguments, said in (
            ("- --input-format csv <&-", "glmheads: standard input: is closed\n"),
            (f"{file} >&-", "glmheads: standard output: is closed\n"),
        ):
            done = subprocess.run(
                command.format("") + " " + arguments, shell=True, capture_output=True, text=True, check=False
            )
            assert (done.returncode, done.stderr) == (2, said)

    def test_interrupt_in_the_middle(self, tmp_path):
        pipe = tmp_path / "p.csv"
        os.mkfifo(pipe)
        saved = [tmp_path / "s.npz", tmp_path / "r.txt"]
        command = [sys.executable, "-m", "glmheads.cli", "evaluate", str(pipe), *BINARY]
        options = ["--save", str(saved[0]), "--output", str(saved[1])]
        process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        with pipe.open("w") as rows:
            rows.write("x,y\n" + "1,1\n" * 400_000)
            rows.flush()
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            time.sleep(0.3)
        assert process.communicate(timeout=60) == (b"", b"")
        assert process.returncode == 130
        assert list(tmp_path.iterdir()) == [pipe]

    def test_closed_pipe_is_quiet(self, write):
        command = [sys.executable, "-m", "glmheads.cli", "evaluate", write("d.csv", "x,y\n1,1\n"), *BINARY]
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False)
        os.close(writer)
        assert done.returncode == 1
        assert done.stderr == b""

    def test_interrupt_is_quiet(self, data, write, capsys, monkeypatch):
        def interrupted(*arguments: Any) -> Any:
            signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr(readers, "read", interrupted)
        assert main(["evaluate", write("d.csv", data), *BINARY]) == 130
        assert capsys.readouterr() == ("", "")


class TestMemory:
    @pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system counts memory otherwise")
    @pytest.mark.parametrize("ending", ["csv", "parquet"])
    def test_memory_does_not_grow_with_the_file(self, tmp_path, ending):
        rng = np.random.default_rng(0)

        def peak(rows: int) -> float:
            """MiB of a process that evaluates a file of so many rows, all in one row group."""
            file = tmp_path / f"{rows}.{ending}"
            table = pa.table({"x": rng.normal(size=rows), "y": rng.random(rows), "w": rng.random(rows)})
            if ending == "csv":
                pa.csv.write_csv(table, file)
            else:
                pa.parquet.write_table(table, file, row_group_size=rows)
            code = (
                "import resource, sys; from glmheads.cli import main, readers; readers._BLOCK = 1 << 16;"
                "main(sys.argv[1:]); print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
            )
            command = [sys.executable, "-c", code, "evaluate", str(file), *BINARY, "--weights", "w"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
            return int(done.stdout.split()[-1]) / 1024

        assert peak(1_200_000) < peak(300_000) + 15

    @pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet", "feather", "arrow", "jsonl"])
    def test_batches_are_bounded_and_only_the_columns_are_read(self, data, write, monkeypatch, ending):
        monkeypatch.setattr(readers, "ROWS", 128)
        file = Path(write(f"d.{ending}", data))
        (source,) = sources.find([file], None, None)
        parts = list(readers.read(source, ["w", "x"]))
        assert [part.rows.num_rows for part in parts] == [128] * 23 + [3000 % 128]
        assert [part.first_row for part in parts] == list(range(1, 3000, 128))
        assert {tuple(sorted(part.rows.schema.names)) for part in parts} == {("w", "x")}
        assert 0.99 <= parts[-1].position / file.stat().st_size <= 1
