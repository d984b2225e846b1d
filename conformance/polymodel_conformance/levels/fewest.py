"""How many cases each level has at least: level 0 sees to it, and a shorter profile says by it what it leaves out."""

from __future__ import annotations

from collections.abc import Mapping

FEWEST: dict[str, dict[int, int]] = {
    "smoke": {1: 25, 2: 25, 3: 8, 4: 6, 5: 6, 6: 20, 7: 2, 8: 1, 9: 6, 10: 6, 11: 60, 12: 60},
    "quick": {1: 583, 2: 494, 3: 69, 4: 12, 5: 21, 6: 27, 7: 2, 8: 3, 9: 25, 10: 82, 11: 130, 12: 289},
    "full": {1: 2302, 2: 1924, 3: 69, 4: 12, 5: 21, 6: 349, 7: 4, 8: 5, 9: 74, 10: 2288, 11: 4503, 12: 289},
    "exhaustive": {1: 2284, 2: 1906, 3: 69, 4: 10, 5: 21, 6: 605, 7: 4, 8: 5, 9: 74, 10: 2200, 11: 6000, 12: 285},
}
"""By profile and level: how many cases one backend must at least be asked."""


def left_out(profile: str, judged: Mapping[int, int]) -> str:
    """What a profile leaves to the full one, in words; empty for one that leaves nothing.

    Args:
        profile: name.
        judged: number of cases by level.
    """
    whole = FEWEST["full"]
    parts = [f"{judged[n]} of {whole[n]} at level {n}" for n in sorted(judged) if n in whole and judged[n] < whole[n]]
    return f"{profile} judges {', '.join(parts)}: the full profile judges the rest" if parts else ""
