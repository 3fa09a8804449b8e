"""tf.estimator's BinaryClassHead in a Python of its own: reads commands from stdin, a line of JSON each.

{"load": FOLDER} takes labels.npy, logits.npy and weights.npy, arrays of shape (batches, n, 1). {"run": WORK} does
"report" (a fresh report of each batch) or "update" (one stream), eagerly or as a tf.function, and answers with the
seconds and the last results.
"""

import json
import logging
import os
import sys
import time
import warnings

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
warnings.simplefilter("ignore")

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

logging.getLogger("tensorflow").setLevel(logging.ERROR)

from tensorflow_estimator.python.estimator.head.binary_class_head import BinaryClassHead  # noqa: E402


class Runner:
    def __init__(self, thresholds):
        self.head = BinaryClassHead(weight_column="weight", thresholds=thresholds)
        self.metrics = {}
        self.steps = {}
        self.batches = []

    def load(self, folder):
        arrays = [np.load(os.path.join(folder, f"{name}.npy")) for name in ("labels", "logits", "weights")]
        self.batches = [tuple(tf.constant(array) for array in batch) for batch in zip(*arrays)]  # noqa: B905

    def run(self, work, compiled):
        step, metrics = self.step(work, compiled)
        self.reset(metrics)
        seconds, results = 0.0, {}
        for batch in self.batches:
            if work == "report":
                self.reset(metrics)
            start = time.perf_counter()
            results = step(*batch)
            if results:
                results = {key: float(value) for key, value in results.items()}
            seconds += time.perf_counter() - start
        # accuracy_baseline leaves a tensor of the graph behind, which can't be read from outside
        readable = {key: metric for key, metric in metrics.items() if not (compiled and key == "accuracy_baseline")}
        results = results or {key: float(metric.result()) for key, metric in readable.items()}
        return {"seconds": seconds, "results": results}

    def step(self, work, compiled):
        """The step, traced once for each size if compiled, and the metrics that it updates."""
        if (work, compiled) in self.steps:
            return self.steps[work, compiled]
        metrics = self.head.metrics()

        def step(labels, logits, weights):
            self.head.update_metrics(metrics, {"weight": weights}, logits, labels)
            return {key: metric.result() for key, metric in metrics.items()} if work == "report" else {}

        self.steps[work, compiled] = tf.function(step) if compiled else step, metrics
        return self.steps[work, compiled]

    @staticmethod
    def reset(metrics):
        for metric in metrics.values():
            metric.reset_state()


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what TensorFlow prints is no answer
    threads, thresholds = json.loads(sys.argv[1])
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    runner = Runner(thresholds)
    for line in sys.stdin:
        command = json.loads(line)
        answer = {}
        if "load" in command:
            runner.load(command["load"])
        else:
            answer = runner.run(command["run"], command["compiled"])
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
