"""A forked child of a process that has used torch's threads answers, and answers the same."""

import subprocess
import sys

import pytest

# In a process of its own: the test's own process may never have used its threads, or must not be forked.
PROGRAM = """
import multiprocessing, os, sys
os.environ["OMP_NUM_THREADS"] = "2"
import numpy as np, torch
from arml.neighbors import MahalanobisKNN
K, method = int(sys.argv[1]), sys.argv[2]
rng = np.random.default_rng(0)
X, T, y = rng.normal(size=(400, 30)), rng.normal(size=(4, 30)), np.arange(400) % 2
knn = MahalanobisKNN(K).fit(X, y)
labels = knn.predict(np.vstack([T] * 100))[:4]
def answer(knn):
    if method == "predict":
        return knn.predict(np.vstack([T] * 100)).tolist()
    return getattr(knn, method)(T, labels).lower.tolist()
def child(queue):
    queue.put((answer(MahalanobisKNN(K).fit(X, y)), torch.get_num_threads()))
expected, before = answer(knn), torch.get_num_threads()
fork = multiprocessing.get_context("fork")
queue = fork.SimpleQueue()
process = fork.Process(target=child, args=(queue,), daemon=True)
process.start()
process.join(60)
if process.exitcode is None:
    process.kill()
    sys.exit("the child hangs")
found, threads = queue.get()
np.testing.assert_allclose(found, expected, rtol=1e-6)
assert threads == 1, threads
assert torch.get_num_threads() == before, "the parent lost its threads"
"""


@pytest.mark.skipif(sys.platform != "linux", reason="forking is the default of multiprocessing on Linux only")
@pytest.mark.parametrize(
    ("K", "method"),
    [(1, "predict"), (1, "exact_radius"), (3, "exact_radius"), (3, "certified_radius"), (3, "attacked_radius")],
)
def test_a_forked_child_answers(K, method):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(K), method], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
