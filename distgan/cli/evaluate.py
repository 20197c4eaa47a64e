"""`distgan evaluate`."""

from __future__ import annotations

import argparse

from distgan.cli.parser import MOST_WORKERS, Parser, Verbs, whole

_EVALUATE = """\
Metrics, of which several may be asked for:

  frechet            distance of Gaussians fitted to features; with Inception's, the FID
  frechet-infinity   the same, extrapolated to infinitely many images
  kernel             distance of the features' distributions; with Inception's, the KID
  manifold           precision and recall, density and coverage
  classifier-score   with Inception, the Inception score
  modes              which classes there are, and which are missing
  sliced             sliced Wasserstein distance of pixels
  memorisation       how near images come to training images
  intra-class        frechet within each class, of a conditional generator
  fid, kid           frechet and kernel through Inception
A value's name, such as recall, means the metric that gives it.

and, of a model with an encoder, such as a VAE, of held-out images where the set has them:

  elbo               evidence lower bound in nats an image, and its two parts
  iwae               importance-weighted bound of K samples, nearer to log p(x)
  bits-per-dimension of the elbo; of likelihoods of 256 levels or of dequantised images
  reconstruction     mean squared error of images that went through z, pixels in [0, 1]
  reconstruction-frechet  frechet between images and their reconstructions
  active-units       latent dimensions that say something of the image
  kl-dimensions      the divergence in each latent dimension

and, of a model that makes images of images, of held-out images where the set has them:

  l1, psnr, ssim     difference, signal-to-noise ratio and similarity of outputs and targets
  feature-distance   of outputs and targets, in what the stages of the extractor see
  cycle              error of images that are translated there and back
  label-score        share of outputs in which a classifier sees the label of the input
Where the input is an image of what is wanted, in gray or small, it is measured beside the outputs:
l1-of-input and the like. Distances such as frechet are those to images of the outputs' side.

and, of a model that makes clips, beside real ones, held-out ones where the set has them:

  frame-frechet      frechet of frames, one of each clip: how they look
  clip-frechet       frechet in what a small 3-D network sees of clips: how they move
  motion             differences of frames and the speed of moving digits, beside real clips' own
  digits-kept        share of clips in which a classifier reads the same digits all the time

For instance:

  distgan evaluate runs/one --metrics frechet,manifold,modes --num 10k
  distgan evaluate runs/vae --metrics elbo,iwae --iwae-k 5000 --num 1000
  distgan evaluate runs/zebras --metrics kernel,cycle --reverse

The values and their card, without which no two may be compared, are added to the run's
evaluations.jsonl. During training: distgan train --evaluate.every 100k
"""


def add(verbs: Verbs[Parser]) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "evaluate",
        help="measure a run's generator against its data",
        epilog=_EVALUATE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(execute=run)
    parser.add_argument("run", metavar="RUN", help="folder or URI of a run")
    parser.add_argument("--metrics", metavar="NAMES", help="separated by commas [the run's]")
    parser.add_argument("--num", metavar="N", help="images, generated or encoded [the run's, 5000]")
    parser.add_argument(
        "--held-out", metavar="DATA", help="a set not trained on [what the set holds out]"
    )
    parser.add_argument(
        "--reverse", action="store_true", help="of a model that translates both ways, the other one"
    )
    parser.add_argument("--iwae-k", metavar="K", help="importance samples of iwae [50]")
    parser.add_argument("--features", metavar="NAME", help="what sees the images [auto]")
    parser.add_argument("--weights", metavar="WHICH", help="ema or generator [ema]")
    parser.add_argument("--seed", metavar="S", help="of latents and subsets [0]")
    parser.add_argument(
        "--workers",
        type=whole("--workers", 0, MOST_WORKERS),
        metavar="N",
        help="processes on Ray [0: this one; on a cluster one per GPU, else per machine]",
    )
    parser.add_argument("--address", metavar="ADDR", help="a running Ray cluster [RAY_ADDRESS]")
    parser.add_argument(
        "--device", choices=["auto", "cpu", "gpu"], default="auto", help="where to measure [auto]"
    )


def run(options: argparse.Namespace) -> int:
    """Measure, and print values and card."""
    from rich.table import Table

    from distgan.cli.console import screen, text
    from distgan.launch.evaluation import evaluate as measure
    from distgan.launch.signals import StopRequest

    names = ("metrics", "num", "features", "weights", "seed", "held_out", "iwae_k")
    given = {name: getattr(options, name) for name in names}
    console = screen()
    with console.status(text(("measuring", "dim"))):
        found = measure(
            options.run,
            {n: v for n, v in given.items() if v is not None},
            workers=options.workers,
            address=options.address,
            device=options.device,
            reverse=options.reverse,
            note=lambda line: console.print(text((line, "dim")), soft_wrap=True),
            stop=StopRequest(ends_process=True),
        )
    table = Table(box=None, pad_edge=False)
    for heading in ("metric", "value", "95% interval"):
        table.add_column(heading, justify="left" if heading == "metric" else "right")
    for name, value in found.values.items():
        known = value.low is not None and value.high is not None
        spread = f"{value.low:.4g} to {value.high:.4g}" if known else ""
        table.add_row(text((name, "bold")), f"{value.value:.4g}", spread)
    rows = "clips" if found.card.clip_frames else "images"
    console.print(
        f"{options.run} after {found.images:,} {rows}, in {found.seconds:.1f} s", soft_wrap=True
    )
    console.print(table)
    for split, what in (("encoded_split", "encoder"), ("translated_split", "translation")):
        if getattr(found.card, split) == "train":
            console.print(
                f"The {what} was measured by training images, as the set holds none out: name a "
                "set that was not trained on by --held-out.",
                soft_wrap=True,
            )
    console.print()
    for name, said in found.card.to_dict().items():
        if said == "":
            continue
        console.print(text((f"{name:<18}", "cyan"), f" {said}"), soft_wrap=True)
    return 0
