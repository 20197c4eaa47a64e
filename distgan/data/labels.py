"""How many images of each class a set holds."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from distgan.data import columns, manifest
from distgan.data.images import ImageSet
from distgan.errors import UserError, first_line
from distgan.storage.storage import Storage


def class_counts(images: ImageSet) -> NDArray[np.int64]:
    """Images of each class, int64 (classes,): from the manifest, else from the column of labels.

    Raises:
        UserError: for a column that cannot be read.
    """
    made = manifest.read(Storage(images.uri))
    if made is not None and made.class_counts:
        return np.array(made.class_counts, np.int64)
    counts = np.zeros(len(images.classes), np.int64)
    for file in images.files:
        try:
            with pq.ParquetFile(file, filesystem=images.filesystem) as parquet:
                labels = columns.whole_numbers(parquet.read(columns=[images.label])[images.label])
        except Exception as error:
            # Arrow may raise any exception for damaged bytes.
            raise UserError(
                f"{file}: column {images.label!r} cannot be read as whole numbers "
                f"({first_line(error)}); make the set again with `distgan data prepare`"
            ) from None
        # Missing labels are -1, and are found when their rows are read.
        kept = labels[(labels >= 0) & (labels < len(counts))]
        counts += np.bincount(kept, minlength=len(counts))
    return counts
