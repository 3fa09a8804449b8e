"""The command line: its numbers against scikit-learn, and one line for every error."""

import json
import os
import signal
import subprocess
import sys
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

import glmheads as gh
from glmheads.cli import main, readers

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
        elif name.endswith(".csv"):
            pa.csv.write_csv(pa.table(content), path)
        else:
            pa.parquet.write_table(pa.table(content), path, row_group_size=1000)
        return str(path)

    return write_file


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
    @pytest.mark.parametrize("ending", ["csv", "parquet"])
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
            ("d.csv", "x,y\n1,1\n".encode("utf-16"), ": is not UTF-8 text"),
            ("d.csv", b"x,y\n1,1\n\xff,1\n", ", row 2, column 'x': bad value '\\\\xff': not UTF-8 text"),
            ("d.csv", b'x,y\n1,1\n1,"1\n2,0\n', ", row 2, column 'y': bad value '1\\n2,0\\n': not a number"),
            ("d.parquet", b"x,y\n1,1\n" * 10, ": Parquet magic bytes not found in footer."),
            ("d.json", b"{}", ": is of an unknown format; the name must end in .csv or .parquet"),
            ("d", b"{}", ": is of an unknown format; the name must end in .csv or .parquet"),
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
        assert error("evaluate", str(tmp_path), *BINARY) == f"{tmp_path}: is not a file"

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
            (["evaluate", "d.csv", *BINARY, "--format", "xml"], "'xml' is not one of 'table', 'json'"),
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

    @pytest.mark.parametrize("ending", ["csv", "parquet"])
    def test_batches_are_bounded_and_only_the_columns_are_read(self, data, write, monkeypatch, ending):
        monkeypatch.setattr(readers, "ROWS", 128)
        file = Path(write(f"d.{ending}", data))
        parts = list(readers.read(file, ["w", "x"]))
        assert [part.rows.num_rows for part in parts] == [128] * 23 + [3000 % 128]
        assert [part.first_row for part in parts] == list(range(1, 3000, 128))
        assert {tuple(sorted(part.rows.schema.names)) for part in parts} == {("w", "x")}
        assert parts[-1].position == file.stat().st_size
