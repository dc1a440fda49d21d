"""Array types that the package shares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]  # row numbers: of impressions, users or items
Floats = NDArray[np.floating]
Flags = NDArray[np.bool_]
