"""A metric on disk: what is written comes back, what is not a metric is refused with the reason."""

import hashlib
import pickle
import zipfile

import numpy as np
import pytest

from arml.geometry import InvalidMetricError, as_mahalanobis
from arml.learners.storage import MetricFileError, StoredMetric, load_metric, save_metric

G = np.array([[1.0, 2.0, 0.0], [0.0, 0.5, -1.0]])
M = G.T @ G


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metric.npz"


def test_what_is_saved_comes_back(path):
    provenance = {"method": "itml", "fit_report": {"n_iter": 3, "notes": ["ü", None]}}
    save_metric(path, G, provenance)
    metric = load_metric(path)
    np.testing.assert_array_equal(metric.components_, G)
    assert metric.components_.dtype == np.float64
    assert metric.provenance == provenance
    assert metric.path == str(path)
    np.testing.assert_allclose(metric.get_mahalanobis_matrix(), M)


def test_the_file_is_read_without_pickle(path):
    save_metric(path, G.astype(np.float32), {"a": 1})
    with np.load(path, allow_pickle=False) as content:
        assert sorted(content.files) == ["components", "provenance"]
        assert content["components"].dtype == np.float64
        assert content["provenance"].dtype.kind == "U"
        assert content["provenance"].ndim == 0


def test_a_stored_metric_is_a_metric(path):
    save_metric(path, G, {})
    np.testing.assert_allclose(as_mahalanobis(load_metric(path), 3).matrix, M)


def test_digest_depends_on_shape_and_values_alone(path):
    save_metric(path, G, {"seed": 1})
    digest = load_metric(path).digest
    assert digest == hashlib.sha256(b"(2, 3)" + G.tobytes()).hexdigest()
    assert StoredMetric(np.asfortranarray(G)).digest == digest
    assert StoredMetric(G.reshape(3, 2)).digest != digest
    changed = G.copy()
    changed[0, 0] = np.nextafter(changed[0, 0], 2)
    assert StoredMetric(changed).digest != digest


def test_saving_replaces_the_file_and_leaves_nothing_beside_it(path):
    save_metric(path, G, {})
    save_metric(path, 2 * G, {})
    np.testing.assert_array_equal(load_metric(path).components_, 2 * G)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_an_interrupted_save_keeps_the_old_file_whole(path, monkeypatch):
    save_metric(path, G, {})

    def broken(stream, **arrays):
        stream.write(b"half a fi")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", broken)
    with pytest.raises(KeyboardInterrupt):
        save_metric(path, 2 * G, {})
    monkeypatch.undo()
    np.testing.assert_array_equal(load_metric(path).components_, G)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("bad", [np.full((2, 2), np.nan), np.ones(3), np.empty((0, 3))])
def test_saving_something_else_than_a_factor_is_refused(path, bad):
    with pytest.raises(InvalidMetricError, match="components G"):
        save_metric(path, bad, {})
    assert not path.exists()


@pytest.mark.parametrize("provenance", [{"x": object()}, {"x": float("nan")}])
def test_provenance_that_is_not_json_is_refused(path, provenance):
    with pytest.raises(ValueError, match="not JSON-able"):
        save_metric(path, G, provenance)
    assert not path.exists()


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"stored as \.npz"):
        save_metric(tmp_path / "metric.json", G, {})


@pytest.mark.parametrize("key", ["components", "components_", "G"])
def test_a_users_factor_is_accepted(path, key):
    np.savez(path, **{key: G.astype(np.float32)}, something_else=np.arange(4))
    metric = load_metric(path)
    np.testing.assert_allclose(metric.components_, G, rtol=1e-6)
    assert metric.provenance == {}


def test_a_users_matrix_is_accepted(path):
    np.savez_compressed(path, M=M)
    np.testing.assert_allclose(load_metric(path).get_mahalanobis_matrix(), M, atol=1e-12)


def test_an_integer_matrix_is_accepted(path):
    np.savez(path, M=np.diag([1, 2, 3]))
    np.testing.assert_allclose(load_metric(path).get_mahalanobis_matrix(), np.diag([1.0, 2.0, 3.0]), atol=1e-12)


def test_a_plain_npy_holds_M(tmp_path):
    np.save(tmp_path / "m.npy", M)
    np.testing.assert_allclose(load_metric(tmp_path / "m.npy").get_mahalanobis_matrix(), M, atol=1e-12)


def test_agreeing_descriptions_are_accepted_and_contradictory_ones_refused(path):
    np.savez(path, components=G, M=M)
    np.testing.assert_array_equal(load_metric(path).components_, G)
    for other in ({"M": 1.01 * M}, {"M": np.eye(4)}, {"G": 2 * G}):
        np.savez(path, components=G, **other)
        with pytest.raises(MetricFileError, match=r"components and . describe different metrics"):
            load_metric(path)


def test_a_missing_file_is_named(path):
    with pytest.raises(MetricFileError, match=r"no metric file at .*metric\.npz"):
        load_metric(path)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(MetricFileError, match="cannot read"):
        load_metric(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"1,2\n3,4\n", b"\x93NUMPY\x01"])
def test_a_file_that_is_no_numpy_file_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(MetricFileError, match=r"no NumPy file|not a readable"):
        load_metric(path)


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_truncated_file_is_refused(path, keep):
    save_metric(path, np.eye(40), {})
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(MetricFileError, match="not a readable"):
        load_metric(path)


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_a_corrupted_file_is_refused(path, write):
    write(path, components=np.random.default_rng(0).normal(size=(40, 40)))
    content = bytearray(path.read_bytes())
    content[2000:2010] = bytes(10)
    path.write_bytes(content)
    with pytest.raises(MetricFileError, match="not a readable"):
        load_metric(path)


def test_a_header_that_promises_too_much_is_refused(path):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (2000000, 99999999), }"
    header += b" " * (118 - 1 - len(header)) + b"\n"
    member = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("components.npy", member)
    with pytest.raises(MetricFileError, match="not a readable"):
        load_metric(path)


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


def test_objects_and_pickles_are_never_executed(path):
    np.savez(path, components=np.array([[Trap()]], dtype=object))
    with pytest.raises(MetricFileError, match="never loaded"):
        load_metric(path)
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(MetricFileError, match="never loaded"):
        load_metric(path)
    np.savez(path, components=G, provenance=np.array({"a": Trap()}, dtype=object))
    with pytest.raises(MetricFileError, match="never loaded"):
        load_metric(path)


def test_a_file_without_a_metric_lists_what_it_holds(path):
    np.savez(path, weights=G)
    with pytest.raises(MetricFileError, match=r"\['weights'\].*components, components_, G.*M"):
        load_metric(path)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"components": np.array([[1.0, np.inf]])}, "components is not a metric.*finite"),
        ({"components": np.ones(3)}, "two-dimensional"),
        ({"components": G.astype(complex)}, "complex128; expected real"),
        ({"G": np.array([["1"]])}, "expected real"),
        ({"M": np.diag([1.0, -0.5])}, "positive semi-definite"),
        ({"M": np.array([[1.0, 0.3], [0.0, 1.0]])}, "symmetric"),
        ({"M": G}, "square"),
    ],
)
def test_what_is_not_a_metric_is_refused_with_the_reason(path, arrays, reason):
    np.savez(path, **arrays)
    with pytest.raises(MetricFileError, match=reason):
        load_metric(path)


@pytest.mark.parametrize("provenance", [np.array("{not json"), np.array("[1]"), np.arange(3)])
def test_damaged_provenance_is_refused(path, provenance):
    np.savez(path, components=G, provenance=provenance)
    with pytest.raises(MetricFileError, match="provenance"):
        load_metric(path)


def test_what_float32_made_negative_is_clipped_and_kept_with_the_metric(path):
    G = np.random.default_rng(0).normal(size=(5, 20)).astype(np.float32)
    np.savez(path, G=G, M=G.T @ G)
    assert load_metric(path).clipped == 0, "the factor comes first, and needs no clipping"
    np.savez(path, M=G.T @ G)
    metric = load_metric(path)
    assert metric.clipped == pytest.approx(-np.linalg.eigvalsh((G.T @ G).astype(np.float64))[0], rel=1e-6)
    assert metric.clipped > 0
