from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

def find(
    item_ids: Sequence[str],
    slot_hashes: NDArray[np.int64],
    slot_rows: NDArray[np.int32],
    rows: NDArray[np.int64],
    /,
) -> None: ...
def copy_rows(
    table: NDArray[np.float32], rows: NDArray[np.int64], out: NDArray[np.float32], /
) -> bool: ...
