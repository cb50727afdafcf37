"""What every source gives."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Estimate:
    """Quantities as one source has them.

    ``values``: by quantity. ``own_error``: by quantity, what the source may be off by for reasons other than
    rounding in its arithmetic (the judge adds that): the truncation of a difference, the way a gradient had
    to be observed. ``notes``: how each quantity was obtained, where there is a choice.
    """

    source: str
    values: dict[str, Array]
    own_error: dict[str, Array] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
