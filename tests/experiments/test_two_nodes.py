"""Two nodes on one store, killed all the time: nothing is lost, and nothing computed twice but what was under way."""

from pathlib import Path

import pytest

from .two_nodes import exercise


@pytest.mark.slow
def test_two_nodes_that_are_killed_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    tally = exercise(tmp_path, kills=15)
    assert tally.wrong == []
    assert tally.twice == []
    assert tally.records > 0
    assert 0 <= tally.under_way <= tally.kills
    assert tally.shards_left == 0
    # Of a host that is not heard of again what is half-written stays for a day.
    assert tally.half_written_left <= tally.lost_hosts
