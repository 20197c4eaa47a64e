"""What a user may get wrong in a search: one line each, before any cluster starts."""

from __future__ import annotations

from pathlib import Path

import pytest

import distgan.launch.ray.cluster
from distgan.cli.main import main

LR = "generator.optimizer.lr"

MISTAKES = {
    "tune mnist-mpl": "'mnist-mpl': no such recipe, did you mean mnist-mlp?",
    "tune --metric fdi": "--metric 'fdi': no such metric, did you mean fid?; have frechet",
    "tune --metric fid": "--metric fid: inception: needs torch_fidelity, which is not installed",
    "tune --metric intra-frechet": "--metric intra-frechet: the generator takes no labels",
    "tune --metric elbo": "--metric elbo: a model of the family gan cannot be measured by it",
    "tune mnist-vae --metric iwae --space likelihood.binarise=choice(true,false)": "bounds of "
    "different likelihoods do not compare, and the space varies likelihood.binarise",
    "tune --scheduler hyperband": "--scheduler 'hyperband': should be 'asha', 'pbt', 'median'",
    "tune --search bayes": "--search 'bayes': should be 'random', 'grid' or 'optuna'",
    "tune --samples 1": "--samples '1': should be greater than or equal to 2",
    "tune --samples many": "--samples 'many': should be a valid integer",
    "tune --imagse 3": "--imagse: no such option or setting, did you mean --images?",
    f"tune --space {LR}": "--space generator.optimizer.lr: there is no such file",
    f"tune --space {LR}=0.1": "should be SETTING=RANGE",
    "tune --space generator.lr=uniform(0,1)": "did you mean --generator.optimizer.lr?",
    f"tune --space {LR}=uniform(1,x)": "'x' should be a number",
    f"tune --space {LR}=lognormal(0,1)": "should be one of uniform(LOW, HIGH); loguniform",
    f"tune --space {LR}=uniform(0.1)": "should be uniform(LOW, HIGH)",
    f"tune --space {LR}=loguniform(1e-3,1e-5)": "its bounds are 0.001 and 1e-05; give LOW",
    f"tune --space {LR}=loguniform(0,1)": "its lower bound is 0; a logarithm wants more",
    "tune --space batch=choice(32,lots)": "--batch 'lots': should be a valid integer",
    "tune --space batch=uniform(10.5,20.5)": "holds fractions; use randint(10, 20)",
    "tune --space batch=uniform(64,128)": "use randint(64, 128), or choice(A, B, ...)",
    "tune --space batch=loguniform(64,128)": "batch is a whole number, and this range",
    "tune --space conditional=uniform(0,1)": "--conditional 0.25: should be a valid boolean",
    "tune --space images=randint(3000,4000)": "--max-images says how many each sees",
    "tune --space seed=choice(1,2)": "seed is the same in all trials; --confirm trains",
    "tune --space evaluate.num=choice(100,200)": "it is how they are measured; see --metric",
    "tune --space data=choice(mnist,cifar10)": "data is the same in all trials",
    "tune --space discriminator.augment.target=uniform(0.4,0.8)": "augment.target: no such",
    "tune --space batch=choice(64,64)": "it names a value twice",
    "tune --rung-num 5": "--rung-num '5': should be greater than or equal to 10",
    "tune --workers-per-trial -1": "--workers-per-trial '-1': should be greater than",
    "tune --max-images 0": "--max-images 0: should be more than 0, or be left out",
    "tune --rung 0": "--rung 0: should be more than 0",
    "tune --concurrent 0": "--concurrent 0: should be more than 0",
    "tune --time-limit 0": "--time-limit 0: should be more than 0",
    "tune --images 0": "--images 0: a trial trains on at least one image",
    "tune --evaluate.num 100": "--evaluate.num: a search decides that for its trials; use --num",
    "tune --health.action stop": "--health.action: a search decides that for its trials; leave",
    "tune --num 0": "--num '0': should be greater than or equal to",
    "tune --num 1e12": "--num '1e12': should be less than or equal to 1000000",
    "tune --max-images 1e30": "--max-images '1e30': should be less than or equal to",
    "tune --samples 1e9": "--samples '1e9': should be",
    "tune --confirm 1000000": "--confirm '1000000': should be less than or equal to 1000",
    "tune --confirm-top 20": "--confirm-top 20: is more than all trials (--samples 12)",
    "tune --retries 99999999": "--retries '99999999': should be less than or equal to",
    "tune --time-limit inf": "--time-limit 'inf': should be",
    "tune --time-limit nan": "--time-limit 'nan': should be",
    "tune --space discriminator.optimizer.beta1=uniform(0,2)": "beta1 2.0: should be at least 0",
    "tune --space loss=choice(hinge,minmax)": "did you mean minimax?",
    "tune --space discriminator.penalty.r2=scale(0.1,10)": "which no factor changes",
    f"tune --space discriminator.optimizer.lr=ratio({LR[:-1]},1,2)": "did you mean --generator",
    f"tune --space batch=same({LR})": "leaves nothing to choose",
    "tune --max-images 100": "--rung 11: is less than two batches of 64",
    "tune --max-images 10k --rung 20k": "--rung 20000: is more than a whole trial",
    "tune --search grid": "points in 9 settings; name fewer by --space, or use --search random",
    "tune --scheduler pbt --search grid": "--search grid: pbt chooses by itself",
    "tune --scheduler pbt --confirm 3": "--confirm 3: what pbt finds is a schedule",
    "tune --scheduler pbt --space batch=choice(32,64)": "can change while a run trains",
    "tune --workers-per-trial 4096": "--workers-per-trial 4096: no trial could ever run on",
    "tune --concurrent 4096": "--concurrent 4096: ",
    "tune --device gpu": "--device gpu: there is no GPU here",
    "tune --data nowhere": "--data nowhere: no such set",
    "tune --conditional true --data nothing.parquet": "nothing.parquet: no such set",
    "tune --resume nowhere": "--resume nowhere: holds no search",
    "tune --resume nowhere --space batch=choice(1,2)": "--space: a resumed search keeps",
    "tune --resume nowhere --batch 3": "--batch: a resumed search keeps",
    "tune --out full": "--out full: is not empty",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_costs_one_line_and_no_cluster(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("a cluster was started")

    monkeypatch.setattr(distgan.launch.ray.cluster, "Cluster", never)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").write_text("")
    status = main(line.split())
    found = capsys.readouterr().err.strip().splitlines()
    assert status == 2
    assert len(found) == 1, found
    assert MISTAKES[line] in found[0]
    assert not (tmp_path / "searches").exists(), "nothing was left behind"
