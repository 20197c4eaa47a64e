"""A set of clips whose frames say which they are: of which clip, and which one of it."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from distgan.config.clip import Clips
from distgan.config.shape import ImageShape
from distgan.data.clips.schema import clip_schema
from distgan.data.images import ImageSet

SHAPE = ImageShape(1, 2, 3)
FILES = [[30, 12, 1], [25, 32]]
COUNT = 100
CLASSES = tuple("0123456789")


def length_of(clip: int) -> int:
    """From 10 to 16 frames."""
    return 10 + clip * 5 % 7


def frame(clip: int, number: int) -> NDArray[np.uint8]:
    """uint8 (2, 3, 1), not its own mirror image."""
    return np.array([[clip, 255, number], [7, 1, clip ^ 0x55]], np.uint8)[..., None]


def png(pixels: NDArray[np.uint8]) -> bytes:
    """One frame, encoded."""
    content = io.BytesIO()
    Image.fromarray(pixels[..., 0]).save(content, "PNG")
    return content.getvalue()


def write_clips(
    folder: Path,
    *,
    encoded: bool = False,
    damage: Mapping[tuple[int, int], bytes] | None = None,
    lengths: Mapping[int, int] | None = None,
    labels: bool = True,
) -> ImageSet:
    """Write the set, one Parquet file for each of ``FILES``; clip i is labelled i % 10.

    Args:
        damage: other bytes of frames of clips.
        lengths: other lengths of clips, of which the manifest knows nothing.
    """
    folder.mkdir(parents=True)
    schema, clip, names, shards = clip_schema(SHAPE, encoded=encoded, labels=labels), 0, [], []
    for number, groups in enumerate(FILES):
        names.append(str(folder / f"part-{number}.parquet"))
        with pq.ParquetWriter(names[-1], schema) as writer:
            for rows in groups:
                mine = range(clip, clip + rows)
                frames = []
                for one in mine:
                    length = (lengths or {}).get(one, length_of(one))
                    own = [frame(one, at) for at in range(length)]
                    cells = [png(each) if encoded else each.tobytes() for each in own]
                    frames.append([(damage or {}).get((one, n), c) for n, c in enumerate(cells)])
                columns = {"frames": frames, "label": [one % 10 for one in mine]}
                table = pa.table({n: columns[n] for n in schema.names}, schema=schema)
                writer.write_table(table, row_group_size=rows)
                clip += rows
        content = Path(names[-1]).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        shards.append(
            {"name": f"part-{number}.parquet", "count": sum(groups), "bytes": len(content)}
            | {"sha256": digest}
        )
    all_lengths = [length_of(one) for one in range(COUNT)]
    clips = Clips(min(all_lengths), max(all_lengths), sum(all_lengths), 10.0)
    made = {
        **{"format": 2, "count": COUNT, "height": 2, "width": 3, "channels": 1, "mean": [0.5]},
        **{"classes": list(CLASSES) if labels else [], "class_counts": [10] * 10 * labels},
        **{"files": shards, "schema": str(schema), "skipped": 0, "source": {}},
        "clips": clips._asdict(),
    }
    (folder / "manifest.json").write_text(json.dumps(made))
    return ImageSet(
        str(folder),
        tuple(names),
        tuple(map(tuple, FILES)),
        SHAPE,
        CLASSES if labels else (),
        encoded,
        clips=clips,
    )


def shortened(images: ImageSet, clips: Clips) -> ImageSet:
    """The same with other facts about its clips."""
    return dataclasses.replace(images, clips=clips)
