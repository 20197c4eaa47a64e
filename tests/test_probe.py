"""Whether nodes share a run's folder and its data is seen before training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import ray

from distgan.data.images import open_images
from distgan.errors import UserError
from distgan.launch.ray.probe import probe
from distgan.storage.storage import Storage

pytestmark = pytest.mark.ray


@pytest.fixture
def two_nodes(cluster: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The cluster's node taken for two of one address, and that."""
    (node,) = [node for node in ray.nodes() if node["Alive"]]
    other = {**node}
    monkeypatch.setattr(ray, "nodes", lambda: [node, other])
    return str(node["NodeManagerAddress"])


def test_a_folder_that_all_share_is_left_as_it_was(two_nodes: str, tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    storage.write("config.yaml", "")
    probe(storage, open_images("mnist"))
    assert storage.names() == ["config.yaml"]


def test_a_node_without_the_folder_is_named(
    two_nodes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = str(tmp_path / "elsewhere")
    monkeypatch.setattr(Storage, "anywhere", lambda self: elsewhere)
    with pytest.raises(UserError, match=rf"node {two_nodes} does not share it.*NFS.*s3://"):
        probe(Storage(tmp_path / "run"), open_images("mnist"))


def test_a_node_that_writes_elsewhere_is_named(
    two_nodes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = open_images("mnist")
    monkeypatch.setattr(Storage, "exists", lambda self, name="": False)
    with pytest.raises(UserError, match=f"node {two_nodes} does not share it.*not arrive here"):
        probe(Storage(tmp_path), images)


def test_a_node_without_the_data_is_named(two_nodes: str, tmp_path: Path) -> None:
    images = replace(open_images("mnist"), files=(str(tmp_path / "missing.parquet"),))
    with pytest.raises(UserError, match=rf"--data .*: node {two_nodes} cannot read it"):
        probe(Storage(tmp_path), images)
