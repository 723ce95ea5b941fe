"""When an event has happened, and when there are too few points for it: counting, in integers.

``y`` is the label of the test point, ``handicap`` of a rival class what it needs beyond the votes of the label: 0, or 1
where `predict` prefers the label among classes with equally many votes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Votes:
    """What counts as lost for a test point with label ``label``, for K neighbours and an event."""

    label: int
    K: int
    event: str

    @property
    def k(self) -> int:
        """The smallest majority."""
        return (self.K + 1) // 2

    def needed(self, rival: int, of_label: int) -> int:
        """Votes with which ``rival`` beats a label that has ``of_label``."""
        return max(of_label + (1 if self.event == "predict" and rival > self.label else 0), 1)

    def can_be_lost(self, distances: list[int], labels: list[int]) -> bool:
        """Whether the event has happened for some choice among points at equal distance."""
        sure, tied, places = _nearest(distances, labels, self.K)
        own = sure.count(self.label) + max(0, places - sum(label != self.label for label in tied))
        if self.event == "majority":
            return own < self.k
        # One choice has the most of a rival and the fewest of the label: its points, then those of other classes.
        return any(
            sure.count(rival) + min(places, tied.count(rival)) >= self.needed(rival, own)
            for rival in set(sure + tied) - {self.label}
        )

    def can_be_kept(self, distances: list[int], labels: list[int]) -> bool:
        """Whether the event has not happened for some choice among points at equal distance."""
        sure, tied, places = _nearest(distances, labels, self.K)
        taken = min(places, tied.count(self.label))
        own = sure.count(self.label) + taken
        if self.event == "majority":
            return own >= self.k
        # The places that the label cannot fill go to rivals, each up to one vote less than it needs.
        room = 0
        for rival in set(sure + tied) - {self.label}:
            spare = self.needed(rival, own) - 1 - sure.count(rival)
            if spare < 0:
                return False
            room += min(spare, tied.count(rival))
        return room >= places - taken

    def too_few(self, low_own: int, low: dict[int, int], able: dict[int, int]) -> bool:
        """Whether points are missing for an attack (docs/proofs.md, counting).

        ``low_own`` sames are low; ``low`` and ``able`` count others by class that are low, and that are undecided and
        may become low.
        """
        n_low, n_able = sum(low.values()), sum(able.values())
        if low_own > self.k - 1 or n_low + n_able < self.k:
            return True
        if self.event == "majority":
            return n_low > self.k
        places = self.K - low_own - n_low
        if places < 0:
            return True
        own = low_own + max(0, places - n_able)
        if own > self.k - 1:
            return True
        return not any(
            low.get(rival, 0) + min(places, able.get(rival, 0)) >= self.needed(rival, own)
            for rival in low.keys() | able.keys()
        )

    def implied(self, low_own: int, low_others: int) -> tuple[bool, bool]:
        """Whether the undecided sames, and the undecided others, are high because no more may be low."""
        full = self.event != "majority" and low_own + low_others >= self.K
        return full or low_own >= self.k - 1, full if self.event != "majority" else low_others >= self.k


def _nearest(distances: list[int], labels: list[int], K: int) -> tuple[list[int], list[int], int]:
    """Labels of the points that are among the K nearest, of those that may be, and how many of these are."""
    limit = sorted(distances)[K - 1]
    sure = [label for distance, label in zip(distances, labels, strict=True) if distance < limit]
    tied = [label for distance, label in zip(distances, labels, strict=True) if distance == limit]
    return sure, tied, K - len(sure)
