"""Signs of clips against loops in numpy, rules on clips that are made ill, and the monitor."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d

from distgan.config.clip import Clips
from distgan.config.settings import override
from distgan.config.shape import ImageShape
from distgan.data.clips.moving import MovingDigits
from distgan.data.clips.panning import PannedImages
from distgan.data.fragments import read_resident
from distgan.data.images import open_images
from distgan.data.sources.base import ArraySource
from distgan.families import Batch, DataSpec
from distgan.health import video
from distgan.health.diagnosis import HEALTHY, suspect
from distgan.parallel import World
from distgan.report.condition import STATES
from distgan.training import health_monitor
from distgan.training.health_monitor import Monitor
from distgan.training.state import TrainingState

from . import toy_clips

FRAMES, COUNT = 16, 64
WELL = {"motion": 1.0, "flicker": 1.0, "disorder": 0.0, "motion_variety": 1.0, "drift": 0.0}

ILL: dict[str, tuple[str, dict[str, float], str]] = {
    "still": ("frozen", {"motion": 0.05, "motion_variety": 0.0}, "--clip.stride"),
    "shuffled": ("flickering", {"disorder": 0.9}, "--generator.optimizer.lr"),
    "noisy": ("flickering", {"flicker": 5.0}, "R1"),
    "alike": ("motion collapse", {"motion_variety": 0.3}, "R1"),
    "fading": ("drift", {"drift": 0.5}, "--clip.frames"),
}


@pytest.mark.parametrize("name", ILL)
def test_each_illness_has_its_name_and_remedy(name: str) -> None:
    state, changes, remedy = ILL[name]
    ill = {**WELL, **changes}
    found = suspect([WELL] * 5, ill, video.RULES)
    assert (found.state, remedy in found.remedy) == (state, True)
    assert suspect([WELL] * 5, WELL, video.RULES).state == HEALTHY
    # Networks that have just started are not judged.
    for records in range(5):
        assert suspect([ill] * records, ill, video.RULES).state == HEALTHY
    assert suspect([ill] * 5, ill, video.RULES).state == state
    assert state in STATES, "the report has a colour for it"


def test_what_gets_better_is_left_alone() -> None:
    for name, worse in (("motion", 0.01), ("motion_variety", 0.1)):
        now = {**WELL, name: 2 * worse}
        assert suspect([{**WELL, name: worse}] * 5, now, video.RULES).state == HEALTHY
        assert suspect([now] * 5, now, video.RULES).state != HEALTHY
    for name, worse in (("disorder", 1.0), ("flicker", 9.0), ("drift", 1.0)):
        now = {**WELL, name: 0.7 * worse}
        assert suspect([{**WELL, name: worse}] * 5, now, video.RULES).state == HEALTHY
        assert suspect([now] * 5, now, video.RULES).state != HEALTHY


def in_numpy(made: NDArray[np.float64], real: NDArray[np.float64]) -> dict[str, float]:
    """The signs, clip by clip and frame by frame, of frames of 32x32."""

    def cells(clip: NDArray[np.float64]) -> NDArray[np.float64]:
        gray = clip.mean(1)
        return np.array([[[f[y : y + 2, x : x + 2].mean() for x in range(0, 32, 2)]
                          for y in range(0, 32, 2)] for f in gray])  # fmt: skip

    def differences(clips: Any, gap: int = 1) -> list[Any]:
        return [clip[t + gap] - clip[t] for clip in clips for t in range(len(clip) - gap)]

    def likeness(clips: Any) -> float:
        squares = [np.mean([np.mean(d**2) for d in differences(clips, gap)]) for gap in (1, 2)]
        return float(squares[0] / squares[1])

    def slopes(clips: Any) -> list[list[list[Any]]]:
        return [
            [[*np.gradient((a + b) / 2), b - a] for a, b in itertools.pairwise(clip)]
            for clip in clips
        ]

    def steepness(each: Any) -> float:
        return float(np.mean([(d**2 + a**2).sum() / 2 for clip in each for d, a, _ in clip]))

    def motions(clips: Any, least: float = 0.0) -> NDArray[np.float64]:
        each, found = slopes(clips), []
        ridge = np.sqrt(0.02 * max(steepness(each), least))
        for clip in each:
            velocities = []
            for down, across, step in clip:
                left = np.concatenate(
                    [np.stack([across.ravel(), down.ravel()], 1), ridge * np.eye(2)]
                )
                right = np.concatenate([-step.ravel(), np.zeros(2)])
                velocities.append(np.linalg.lstsq(left, right, rcond=None)[0])
            found.append(np.ravel(velocities))
        return np.array(found)

    def apart(tracks: NDArray[np.float64]) -> float:
        nearest = [
            min(np.linalg.norm(a - b) for j, b in enumerate(tracks) if j != i)
            for i, a in enumerate(tracks)
        ]
        return float(np.mean(nearest) / np.sqrt((tracks**2).sum(1).mean()))

    def change(clips: NDArray[np.float64]) -> float:
        quarter, squares = clips.shape[1] // 4, []
        for clip in clips:
            first, last = clip[:quarter], clip[-quarter:]
            squares.append(
                sum(
                    (last[:, c].mean() - first[:, c].mean()) ** 2
                    + (last[:, c].std() - first[:, c].std()) ** 2
                    for c in range(clip.shape[1])
                )
            )
        return float(np.sqrt(np.mean(squares)))

    mine, data = [cells(clip) for clip in made], [cells(clip) for clip in real]
    sizes = [[np.abs(d).mean() for d in differences(each)] for each in (mine, data, made, real)]
    least = 1e-4 * steepness(slopes(data))
    return {
        "motion": np.mean(sizes[0]) / np.mean(sizes[1]),
        "flicker": np.mean(sizes[2]) / np.mean(sizes[3]),
        "disorder": (likeness(mine) - likeness(data)) / (1 - likeness(data)),
        "motion_variety": apart(motions(mine, least)) / apart(motions(data)),
        "drift": max(0.0, (change(made) - change(real)) / real.std()),
    }


def test_signs_are_those_of_loops_over_frames() -> None:
    real, other = clips_of("small")
    made, real = (0.8 * other + 0.1 * time())[:3, ::2], real[:3, ::2]
    found = signs_of(made, real)
    assert found == pytest.approx(in_numpy(made.numpy(), real.numpy()), rel=1e-9)
    # Alike in groups of clips that are looked at one after another.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(video, "_AT_ONCE", 2 * made[0].numel())
        assert found == pytest.approx(signs_of(made, real), rel=1e-12)


def test_velocities_are_those_of_a_moving_hill() -> None:
    """In cells of 2x2 pixels."""
    y, x = np.mgrid[:32, :32]
    for across, down in ((1.0, 0.0), (0.0, -1.0), (0.6, 0.8), (0.0, 0.0)):
        places = [(16 + t * across - 2, 16 + t * down + 3) for t in range(6)]
        frames = [np.exp(-((x - a) ** 2 + (y - d) ** 2) / 32) for a, d in places]
        clip = torch.from_numpy(np.array(frames))[None, :, None]
        seen = video._of_some(clip)
        found = 2 * video._velocities(seen.slopes, torch.zeros(()))
        for velocity in found[0].tolist():
            assert velocity == pytest.approx([across, down], abs=0.06)


def test_frames_in_any_order_are_at_one_and_those_that_turn_back_above() -> None:
    real, other = clips_of("small")
    draw = torch.Generator().manual_seed(0)
    anything = torch.randn(COUNT, FRAMES, 1, 32, 32, generator=draw, dtype=torch.float64)
    assert video.image_signs(anything, real)["disorder"].item() == pytest.approx(1, abs=0.02)
    back = other[:, [0, 8] * (FRAMES // 2)]
    assert video.image_signs(back, real)["disorder"] > 3


def test_data_that_does_not_move_is_no_measure() -> None:
    still = clips_of("small")[0][:, :1].expand(-1, FRAMES, -1, -1, -1)
    assert signs_of(still, still) == WELL
    assert state_of(still, still) == HEALTHY


@pytest.mark.parametrize("frames", [2, 3])
def test_clips_of_two_frames_have_no_order(frames: int) -> None:
    real, other = (clips[:, :frames] for clips in clips_of("small"))
    found = video.image_signs(other, real)
    assert all(torch.isfinite(value) for value in found.values())
    assert (found["disorder"] == 0) == (frames == 2)
    assert state_of(other, real) == HEALTHY


def test_reals_that_come_again_count_once() -> None:
    """As they do where fewer are held out than samples are made."""
    real, other = clips_of("small")
    few = real[:10].repeat(7, 1, 1, 1, 1)[:COUNT]
    found = video.image_signs(other, few)["motion_variety"]
    once = video.image_signs(other[:10], real[:10])["motion_variety"].item()
    assert found.item() == pytest.approx(once, rel=1e-3)
    assert state_of(other, few) == HEALTHY


def tensor(clips: list[Any]) -> Tensor:
    """Of uint8 (T, h, w, c): float64 (n, T, c, h, w) in [-1, 1]."""
    return torch.from_numpy(np.stack(clips)).double().permute(0, 1, 4, 2, 3) / 127.5 - 1


class OneWay(MovingDigits):
    """Clips that show different digits on the way of clip 5."""

    def positions(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.repeat(super().positions(np.array([5])), len(numbers), 0)


class OneCamera(PannedImages):
    """Clips of different images, over which the window moves as over image 5."""

    def positions(self, number: int, image: tuple[int, ...]) -> NDArray[np.float64]:
        return super().positions(5, image)


@cache
def pictures(count: int, side: int = 36) -> ArraySource:
    """Colour images of blobs of many sizes."""
    draw = np.random.default_rng(0)
    whole: Any = 0.0
    for size in (2, 4, 9, 18):
        noise = torch.from_numpy(draw.normal(size=(count, 3, size, size)))
        whole = whole + torch.nn.functional.interpolate(noise, side, mode="bicubic") / size**0.5
    images = (128 + 60 * whole).clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    return ArraySource("arrays", images, None, (), [("a.npy", count)])


@cache
def digits() -> tuple[Any, Any]:
    found = read_resident(open_images("mnist"))
    return found.images[..., 0], found.labels


@cache
def clips_of(kind: str) -> tuple[Tensor, Tensor]:
    """Two times 64 real clips, of different numbers."""
    return drawn(kind, range(COUNT)), drawn(kind, range(COUNT, 2 * COUNT))


@cache
def drawn(kind: str, numbers: range, alike: bool = False) -> Tensor:
    if kind == "panning":
        count = 2 * COUNT
        panned = (OneCamera if alike else PannedImages)(pictures(count), FRAMES, (24, 24), count, 0)
        return tensor([np.stack(item.frames) for item in panned.read(np.array(numbers))])  # type: ignore[arg-type]
    name = {"small": "moving-mnist-small", "two digits": "moving-mnist"}[kind]
    moving = (OneWay if alike else MovingDigits)(name, *digits(), 2 * COUNT, 0)
    return tensor([moving.clip(number)[:FRAMES] for number in numbers])


def shuffled(clips: Tensor, share: float) -> Tensor:
    """Clips a share of whose frames change places."""
    draw, found = np.random.default_rng(0), clips.clone()
    for clip, ordered in zip(found, clips, strict=True):
        places = draw.permutation(FRAMES)[: round(share * FRAMES)]
        clip[places] = ordered[draw.permutation(places)]
    return found


def noise(clips: Tensor) -> Tensor:
    return torch.randn(clips.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def time() -> Tensor:
    return torch.linspace(0, 1, FRAMES, dtype=torch.float64).view(1, FRAMES, 1, 1, 1)


def mirrored(clips: Tensor, ways: int) -> Tensor:
    """Clips that move in so many ways: each part is mirrored otherwise."""
    parts = clips.chunk(ways)
    axes: tuple[tuple[int, ...], ...] = ((), (3,), (4,), (3, 4))
    return torch.cat([part.flip(flips) if flips else part for part, flips in zip(parts, axes)])  # noqa: B905


Change = Callable[[Tensor], Tensor]
WELL_MADE: dict[str, Change] = {
    "other numbers": lambda clips: clips,
    "backwards": lambda clips: clips.flip(1),
    "blurred": lambda clips: torch.stack([avg_pool2d(clip, 3, 1, 1) for clip in clips]),
    "fainter": lambda clips: 0.5 * clips - 0.2,
    "half the speed": lambda clips: clips[:, [t // 2 for t in range(FRAMES)]],
    "grain that stays": lambda clips: clips + 0.3 * noise(clips)[:, :1],
    "a little noise": lambda clips: clips + 0.02 * noise(clips),
    "a little lighter": lambda clips: clips + 0.05 * time(),
}
ILL_MADE: dict[str, tuple[str, tuple[float, ...], Callable[[Tensor, float], Tensor]]] = {
    "frozen": ("frozen", (0.0,), lambda clips, _: clips[:, :1].expand_as(clips)),
    "frozen but for noise": (
        "frozen",
        (0.001, 0.005),
        lambda clips, s: clips[:, :1] + s * noise(clips),
    ),
    "shuffled": ("flickering", (0.5, 0.75, 1.0), shuffled),
    "noisy": ("flickering", (0.6, 0.8, 1.2), lambda clips, s: clips + s * noise(clips)),
    "fading": (
        "drift",
        (0.5, 0.7, 0.9),
        lambda clips, s: (clips + 1) * (1 - s * time()) - 1,
    ),
    "brightening": ("drift", (0.25, 0.4, 0.8), lambda clips, s: clips + s * time()),
}
"""By name what is to be said of real clips that are changed so, at several strengths."""
KINDS = ("small", pytest.param("two digits", marks=pytest.mark.slow), "panning")


def signs_of(made: Tensor, real: Tensor) -> dict[str, float]:
    return {name: value.item() for name, value in video.image_signs(made, real).items()}


def state_of(made: Tensor, real: Tensor) -> str:
    now = signs_of(made, real)
    return suspect([now] * 5, now, video.RULES).state


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", WELL_MADE)
def test_clips_that_move_as_the_data_does_are_healthy(kind: str, change: str) -> None:
    real, other = clips_of(kind)
    found = signs_of(WELL_MADE[change](other), real)
    assert suspect([found] * 5, found, video.RULES).state == HEALTHY, found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", ILL_MADE)
def test_clips_that_are_made_ill_are_found_out(kind: str, change: str) -> None:
    state, strengths, make = ILL_MADE[change]
    real, other = clips_of(kind)
    for strength in strengths:
        found = signs_of(make(other, strength), real)
        assert suspect([found] * 5, found, video.RULES).state == state, (strength, found)


@pytest.mark.parametrize("kind", KINDS)
def test_signs_follow_the_strength(kind: str) -> None:
    real, other = clips_of(kind)
    for change, sign in (
        ("shuffled", "disorder"),
        ("noisy", "flicker"),
        ("fading", "drift"),
        ("brightening", "drift"),
    ):
        strengths = (0.25, 0.5, 1.0)
        values = [signs_of(ILL_MADE[change][2](other, s), real)[sign] for s in strengths]
        assert values == sorted(values), (change, values)
        assert values[-1] > 1.3 * values[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ways", [1, 2, 4])
def test_clips_that_share_a_few_motions_are_found_out(kind: str, ways: int) -> None:
    """Whatever they show; where most clips do, the sign says so in its size."""
    real, other = clips_of(kind)
    alike = mirrored(drawn(kind, range(COUNT), alike=True), ways)
    found = signs_of(alike, real)
    assert suspect([found] * 5, found, video.RULES).state == "motion collapse", found
    values = []
    for share in (1.0, 0.75, 0.5, 0.0):
        some = int(share * COUNT)
        values.append(signs_of(torch.cat([alike[:some], other[some:]]), real)["motion_variety"])
    assert values == sorted(values), values


@pytest.fixture
def known() -> Iterator[None]:
    with toy_clips.registered():
        yield


MADE: dict[str, Change] = {
    HEALTHY: lambda clips: clips,
    **{
        state: lambda clips, make=make, strength=strengths[-1]: make(clips, strength)
        for state, strengths, make in ILL_MADE.values()
    },
    "motion collapse": lambda clips: drawn("small", range(COUNT), alike=True),
    "collapsed": lambda clips: clips[:1].expand_as(clips),
}


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("state", MADE)
def test_the_monitor_names_what_is_wrong_with_clips(
    state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a family whose clips are given; all its other signs are of a real run."""
    real, other = clips_of("small")
    small = {"batch": 4, "precision": "float64", "health.patience": 3}
    config = override(toy_clips.toy(), small)
    data = DataSpec(ImageShape(1, 32, 32), (), clips=Clips(20, 20, 2000, 10.0))
    run = TrainingState(config, data, World())
    times = torch.arange(FRAMES, dtype=torch.float64).expand(4, -1)
    batch = {"frames": real[:4], "times": times}
    draws = {name: torch.ones(4, draw.size).double() for name, draw in run.family.draws().items()}
    run.step([Batch(batch, draws)])
    asked: list[Any] = []

    def shown(*given: Any) -> Batch:
        asked.append(given)
        return Batch({"frames": real.float()}, {})

    monkeypatch.setattr(health_monitor, "shown_rows", shown)
    monkeypatch.setattr(run.family, "generate", lambda networks, inputs: MADE[state](other))
    monitor = Monitor(config, run, None, None)  # type: ignore[arg-type]
    means = dict.fromkeys(run.family.statistics, 0.5)
    found = [monitor.examine(run, dict(means), Batch({}, {}))[0] for _ in range(8)]
    assert found[-1]["health"] == state
    assert set(WELL) <= set(found[-1])
    assert len(asked) == 1
    assert asked[0][-2:] == (("frames",), COUNT)


@pytest.mark.usefixtures("known")
def test_a_family_makes_its_clips_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from distgan.families import clip_family
    from distgan.families.data import drawn as numbers

    data = DataSpec(ImageShape(1, 8, 8), (), clips=Clips(20, 20, 2000, 10.0))
    run = TrainingState(toy_clips.toy(), data, World())
    family, networks = run.family, {r: n.network for r, n in run.networks.items()}
    batch = Batch({}, numbers(family.inputs(), 0, "health", range(10)))
    whole = family.generate(networks, batch)
    made: list[int] = []
    make = family.make  # type: ignore[attr-defined]

    def counted(networks: Any, batch: Batch, frames: int, spacing: float) -> Tensor:
        made.append(len(batch.draws["content"]))
        return make(networks, batch, frames, spacing)

    monkeypatch.setattr(family, "make", counted)
    monkeypatch.setattr(clip_family, "_MOST_PIXELS", 4 * FRAMES * 64)
    assert torch.equal(family.generate(networks, batch), whole)
    assert made == [4, 4, 2]


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(("side", "expected"), [(64, 64), (256, 21), (1024, 8)])
def test_large_clips_are_judged_by_fewer(side: int, expected: int) -> None:
    data = DataSpec(ImageShape(3, side, side), (), clips=Clips(20, 20, 2000, 10.0))
    family = toy_clips.ToyClips(toy_clips.toy(), data, World())
    assert health_monitor._samples(family) == expected
