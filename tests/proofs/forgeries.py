"""A bank of forgeries: an honest result, spoiled in one of many ways at random, and the truth of what it then claims.

A forgery may be confirmed if it happens to be true: of points whose bounds enclose the radius no harm is done. It must
not be confirmed where it claims more than the truth, and no check may end in anything but a verdict or a `ValueError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from arml import MahalanobisKNN
from arml.proofs import Claim, Proof, ProvenResult, RecheckReport, Subject, digest

Truth = tuple[np.ndarray, np.ndarray]

# Confirmed bounds may part from the truth by what the truth's own bounds leave open and this, relatively.
_SLACK = 1e-9
_KINDS = ("f4", "i8", "c16", "O", "U8", "?")


@dataclass(frozen=True)
class Forgery:
    """A spoiled result; ``truth`` are bounds (lower, upper) of the radii it is about, None where it is malformed."""

    name: str
    result: ProvenResult
    truth: Truth | None


def honest(seed: int, K: int, event: str, box: tuple[float, float] | None, n: int = 60, t: int = 6) -> ProvenResult:
    """Result of a random problem, with bounds lowered a little, as whoever makes proofs should."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    X = rng.normal(size=(n, 3)) + 1.1 * y[:, None]
    G = rng.normal(size=(2 + seed % 2, 3))
    points = rng.normal(size=(t, 3)) + 1.1 * rng.integers(0, 3, t)[:, None]
    return proven(G, X, y, points, None, K, event, box)


def proven(
    G: np.ndarray, X: np.ndarray, y: np.ndarray, points: np.ndarray, labels: np.ndarray | None, K: int, event: str,
    box: tuple[float, float] | None,
) -> ProvenResult:  # fmt: skip
    """The search's own result about such data; without ``labels`` for the labels that are predicted."""
    knn = MahalanobisKNN(K, metric=G.T @ G).fit(X, y)
    labels = knn.predict(points) if labels is None else labels
    bounds = knn.exact_radius(points, labels, event=event, box=box, proofs=True)
    lower = bounds.lower * (1 - 1e-9)
    subject = Subject(knn.metric_.components, knn.X_train_, knn.y_train_, points, labels)
    assert bounds.perturbation is not None
    return ProvenResult(
        subject, lower, bounds.upper, bounds.status.astype("U16"), bounds.perturbation, bounds.certificate
    )


def truth_of(result: ProvenResult) -> Truth | None:
    """Bounds of the radii the result's claim is about, found anew; None where the claim is malformed."""
    subject, claim = result.subject, result.claim
    box = None if claim.box == (-np.inf, np.inf) else claim.box
    event = "plurality" if claim.event == "predict" else claim.event
    try:
        found = proven(
            subject.components, subject.X_train, subject.y_train, subject.X, subject.y, claim.n_neighbors, event, box
        )
    except (ValueError, TypeError, IndexError):
        return None
    # Predict implies plurality: its radius is at least that, and may be anything above.
    return found.lower, np.full(len(found.upper), np.inf) if claim.event == "predict" else found.upper


def forgeries(result: ProvenResult, rng: np.random.Generator) -> Iterator[Forgery]:
    """Forgeries of one honest result, without end."""
    truth = result.lower, result.upper
    while True:
        forge = _FORGES[int(rng.integers(len(_FORGES)))]
        with np.errstate(all="ignore"):
            name, forged = forge(result, rng)
            if rng.random() < 0.5 and forge in _PROOF_FORGES:
                more, forged = raised(forged, rng)
                name = f"{name}, {more}"
        yield Forgery(name, forged, truth if forge not in _OTHER_DATA else truth_of(forged))


def more_than_the_truth(forgery: Forgery, report: RecheckReport) -> list[int]:
    """The test points of which something false was confirmed."""
    confirmed, result = np.flatnonzero(report.ok), forgery.result
    if forgery.truth is None:
        return confirmed.tolist()
    lower, upper = forgery.truth
    too_high = result.lower[confirmed] > upper[confirmed] * (1 + _SLACK)
    too_low = result.upper[confirmed] < lower[confirmed] * (1 - _SLACK)
    return confirmed[too_high | too_low].tolist()


def verdict(forgery: Forgery, check: Callable[[ProvenResult], RecheckReport]) -> str:
    """What a checker makes of it: refused, true, false or a traceback."""
    try:
        report = check(forgery.result)
    except ValueError as error:
        return "refused" if str(error) else "refused without a sentence"
    except Exception as error:
        # That nothing else is raised is what is tested.
        return f"traceback: {type(error).__name__}: {error}"
    if more_than_the_truth(forgery, report):
        return "false and confirmed"
    return "refused in part" if not report.ok.all() else "confirmed, and true"


def raised(result: ProvenResult, rng: np.random.Generator) -> tuple[str, ProvenResult]:
    """Lower bounds raised by a part of 1e-12 to 10, with an upper bound and a perturbation to match."""
    exponent = float(rng.uniform(-12, 1))
    factor = 1 + 10**exponent
    some = rng.random(len(result.lower)) < rng.choice([0.2, 1.0])
    base = result.upper if rng.random() < 0.7 else result.lower
    lower = np.where(some, base * factor, result.lower)
    how = int(rng.integers(3))
    upper, delta, status = result.upper.copy(), result.perturbation.copy(), result.status.copy()
    short = some & (upper < lower)
    if how == 0:
        grow = np.where(short & (upper > 0), lower / np.where(upper > 0, upper, 1), 1.0)
        upper, delta = np.where(short, lower, upper), delta * np.where(np.isfinite(grow), grow, 1.0)[:, None]
    elif how == 1:
        upper[short], delta[short], status[short] = np.inf, 0.0, "bounded"
    else:
        upper = np.maximum(upper, lower)
    return f"lower raised by 1e{exponent:.0f}", replace(result, lower=lower, upper=upper, status=status,
                                                        perturbation=delta)  # fmt: skip


def _shrunk(result: ProvenResult, rng: np.random.Generator) -> tuple[str, ProvenResult]:
    factor = 1 - 10 ** float(rng.uniform(-12, 0))
    upper, delta = result.upper * factor, result.perturbation * factor
    return "upper shrunk", replace(result, upper=upper, perturbation=delta, lower=np.minimum(result.lower, upper))


def _status(result: ProvenResult, rng: np.random.Generator) -> tuple[str, ProvenResult]:
    words = ["exact", "misclassified", "tied", "bounded", "unreachable", "time_limit", "proven", ""]
    word, one = str(rng.choice(words)), rng.random(len(result.lower)) < 0.4
    lower, upper, delta = result.lower.copy(), result.upper.copy(), result.perturbation.copy()
    status = np.where(one, word, result.status)
    if rng.random() < 0.7 and word in ("misclassified", "tied"):
        lower[one], upper[one], delta[one] = 0.0, 0.0, 0.0
    if rng.random() < 0.7 and word == "unreachable":
        lower[one], upper[one], delta[one] = np.inf, np.inf, 0.0
    return f"status {word!r}", replace(result, status=status, lower=lower, upper=upper, perturbation=delta)


def _number(result: ProvenResult, rng: np.random.Generator) -> tuple[str, ProvenResult]:
    name = str(rng.choice(["lower", "upper", "perturbation"]))
    value = float(rng.choice([np.nan, np.inf, -np.inf, -1.0, -0.0, 0.0, 1e-320, 1e308]))
    array = getattr(result, name).copy()
    array[rng.random(array.shape) < 0.3] = value
    return f"{name} {value}", replace(result, **{name: array})


def _perturbation(result: ProvenResult, rng: np.random.Generator) -> tuple[str, ProvenResult]:
    delta = result.perturbation
    turned = rng.normal(size=delta.shape)
    length = np.linalg.norm(turned, axis=1, keepdims=True)
    turned *= np.where(np.isfinite(result.upper), result.upper, 0.0)[:, None] / length
    choices = {"turned": turned, "negated": -delta, "swapped": delta[::-1].copy(), "gone": np.zeros_like(delta)}
    name = str(rng.choice(list(choices)))
    return f"perturbation {name}", replace(result, perturbation=choices[name])


def _spoiled(array: np.ndarray, rng: np.random.Generator) -> tuple[str, Any]:
    """An array of another type, shape or content."""
    how = str(rng.choice(["type", "cut", "longer", "flat", "column", "permuted", "scalar", "list", "value"]))
    if how == "type":
        kind = str(rng.choice(_KINDS))
        return f"as {kind}", array.astype(kind) if array.dtype.kind != "U" else np.zeros(array.shape, kind)
    if how == "value" and array.size and array.dtype.kind in "ifb":
        spoiled = array.copy()
        new: Any = rng.choice([-1, -2, -7, 0, 1, 2, 5, 10**6, -(2**63), 2**63 - 1]) if array.dtype.kind == "i" else 0
        if array.dtype.kind == "f":
            new = rng.choice([np.nan, np.inf, -np.inf, -1.0, 0.0, 1.0, 1e-300, 1e300, 5e-324])
        spoiled.reshape(-1)[int(rng.integers(array.size))] = new if array.dtype.kind != "b" else ~spoiled.reshape(-1)[0]
        return f"value {new}", spoiled
    spoils: dict[str, Any] = {
        "cut": array[:-1], "longer": np.concatenate([array, array[-1:]]), "flat": array.reshape(-1),
        "column": array[..., None], "permuted": rng.permutation(array), "scalar": np.array(3), "list": [[1], [2, 3]],
    }  # fmt: skip
    return how, spoils.get(how, array[::-1].copy())


def _field(result: ProvenResult, rng: np.random.Generator) -> tuple[str, ProvenResult]:
    name = str(rng.choice(["lower", "upper", "status", "perturbation"]))
    how, array = _spoiled(getattr(result, name), rng)
    changed: dict[str, Any] = {name: array if isinstance(array, np.ndarray) else np.array([])}
    return f"{name} {how}", replace(result, **changed)


def _proof_field(result: ProvenResult, rng: np.random.Generator) -> tuple[str, ProvenResult]:
    arrays = result.proof.arrays()
    name = str(rng.choice(list(arrays)))
    how, array = _spoiled(arrays[name], rng)
    changed: dict[str, Any] = {name: array if isinstance(array, np.ndarray) else np.array([])}
    return f"proof's {name} {how}", replace(result, proof=replace(result.proof, **changed))


def _weights(result: ProvenResult, rng: np.random.Generator) -> tuple[str, ProvenResult]:
    weight = result.proof.weight
    choices = {
        "random": rng.uniform(size=len(weight)), "negative": -weight, "zero": 0 * weight, "tiny": weight * 1e-310,
        "huge": weight * 1e300, "permuted": rng.permutation(weight), "equal": np.ones(len(weight)),
        "one kept": weight * (rng.random(len(weight)) < 0.5),
        "a little off": weight * rng.uniform(0.9, 1.1, len(weight)),
    }  # fmt: skip
    name = str(rng.choice(list(choices)))
    return f"weights {name}", replace(result, proof=replace(result.proof, weight=choices[name]))


def _indices(result: ProvenResult, rng: np.random.Generator) -> tuple[str, ProvenResult]:
    """Items of an index array replaced by others of the data."""
    names = [
        name for name in ("entry_other", "row", "points", "point", "pairs", "parent") if hasattr(result.proof, name)
    ]
    name = str(rng.choice(names))
    array = getattr(result.proof, name).copy()
    some = rng.random(array.shape) < rng.choice([0.05, 0.3, 1.0])
    array[some] = rng.integers(-8, len(result.subject.X_train) + 2, int(some.sum()))
    return f"proof's {name} redrawn", replace(result, proof=replace(result.proof, **{name: array}))


def _tree(result: ProvenResult, rng: np.random.Generator) -> tuple[str, ProvenResult]:
    """Leaves dropped, doubled or swapped; for K = 1 entries."""
    proof = result.proof
    pointer, items = ("node_ptr", "parent") if hasattr(proof, "parent") else ("entry_ptr", "entry_other")
    count = len(getattr(proof, items))
    if count < 3:
        return _weights(result, rng)
    how, chosen = str(rng.choice(["dropped", "doubled", "swapped", "flipped"])), int(rng.integers(count))
    order = np.arange(count)
    if how == "dropped":
        order = np.delete(order, chosen)
    elif how == "doubled":
        order = np.insert(order, chosen, chosen)
    else:
        order[[chosen, (chosen + 1) % count]] = order[[(chosen + 1) % count, chosen]]
    arrays: dict[str, Any] = proof.arrays()
    inner, values = ("pair_ptr", ("pairs", "weight")) if items == "parent" else ("row_ptr", ("row", "weight"))
    starts, ends = arrays[inner][:-1][order], arrays[inner][1:][order]
    picked = np.concatenate([np.arange(a, b) for a, b in zip(starts, ends, strict=True)]).astype(np.int64)
    changed: dict[str, Any] = {name: arrays[name][picked] for name in values} | {
        inner: np.r_[0, np.cumsum(ends - starts)]
    }
    moved = {"swapped": ("low",), "flipped": ()}.get(how, ("parent", "point", "low"))
    changed |= {name: arrays[name][order] for name in moved if name in arrays}
    if items == "entry_other":
        changed["entry_other"] = arrays["entry_other"][order]
    shift = len(order) - count
    changed[pointer] = arrays[pointer] + shift * (arrays[pointer] > chosen)
    return f"{items} {how}", replace(result, proof=replace(proof, **changed))


def _without_evidence(result: ProvenResult, rng: np.random.Generator) -> tuple[str, ProvenResult]:
    """A proof that is empty from some test point on."""
    proof: Proof = result.proof
    arrays: dict[str, Any] = proof.arrays()
    outer = [name for name in ("entry_ptr", "node_ptr", "point_ptr") if name in arrays]
    name = str(rng.choice(outer))
    owned = {"entry_ptr": ("entry_other",), "node_ptr": ("parent", "point", "low"), "point_ptr": ("points",)}[name]
    keep = int(arrays[name][int(rng.integers(len(arrays[name])))])
    changed: dict[str, Any] = {name: np.minimum(arrays[name], keep)}
    changed |= {array: arrays[array][:keep] for array in owned}
    inner = {"entry_ptr": ("row_ptr", ("row", "weight")), "node_ptr": ("pair_ptr", ("pairs", "weight"))}.get(name)
    if inner:
        end = int(arrays[inner[0]][keep])
        changed |= {inner[0]: arrays[inner[0]][: keep + 1]} | {array: arrays[array][:end] for array in inner[1]}
    return f"proof ends early in {name}", replace(result, proof=replace(proof, **changed))


def _claim(result: ProvenResult, rng: np.random.Generator) -> tuple[str, ProvenResult]:
    """Another claim: malformed, about other data, or another K, event or box."""
    claim = result.claim
    options: list[dict[str, Any]] = [
        {"n_neighbors": K} for K in (1, 3, 5, 2, 0, -1, 61, 3.0, True, "3", None, np.int64(3))
    ]
    options += [{"event": event} for event in ("majority", "plurality", "predict", "never", "", None, 1)]
    options += [{"norm": norm} for norm in (1.0, np.inf, np.nan, 3.0, "2", None, True)]
    boxes = ((-0.5, 1.0), (0.0, 0.5), (-9.0, 9.0), (1.0, 0.0), (np.nan, 1.0), (-np.inf, np.inf), (np.inf, np.inf))
    options += [{"box": box} for box in (*boxes, None, (0.0,), "ab", ("a", "b"))]
    options += [{name: value} for name in ("X", "y", "components", "X_train") for value in ("0" * 64, None, claim.y)]
    change = options[int(rng.integers(len(options)))]
    changed = replace(claim, **change)
    name = next(iter(change))
    return f"claim's {name}", replace(result, proof=replace(result.proof, claim=changed))


def _data(result: ProvenResult, rng: np.random.Generator) -> tuple[str, ProvenResult]:
    """Other data, with digests renewed or not: nearer enemies, moved points, other labels, another metric."""
    subject = result.subject
    nearer = subject.X + rng.choice([0.01, 0.3, 1.0]) * rng.normal(size=subject.X.shape)
    name = str(rng.choice(["enemies", "X", "X_train", "y_train", "y", "components"]))
    if name == "enemies":
        label = np.where(subject.y == 0, 1, 0)
        changed = replace(
            subject, X_train=np.concatenate([subject.X_train, nearer]), y_train=np.concatenate([subject.y_train, label])
        )
    elif name in ("y_train", "y"):
        changed = replace(subject, **{name: rng.permutation(getattr(subject, name))})
    else:
        array = getattr(subject, name)
        changed = replace(subject, **{name: array + rng.choice([1e-9, 0.01, 0.3]) * rng.normal(size=array.shape)})
    renewed = rng.random() < 0.8
    claim = result.claim
    if renewed:
        digests = {field.name: digest(getattr(changed, field.name)) for field in fields(Subject)}
        claim = Claim(claim.n_neighbors, claim.event, claim.norm, claim.box, **digests)
    forged = replace(result, subject=changed, proof=replace(result.proof, claim=claim))
    return f"other {name}, digests {'renewed' if renewed else 'kept'}", forged


_PROOF_FORGES = (_proof_field, _weights, _indices, _tree, _without_evidence)
_OTHER_DATA = (_claim, _data)
_FORGES = (*_PROOF_FORGES, raised, raised, _shrunk, _status, _number, _perturbation, _field, _claim, _data)
