"""Does the harness keep up with a bare PyTorch loop? Both train the same model, in turn, in one process.

Prints, for each rung of a preset, tokens per second of the bare loop, of the Trainer with everything the harness adds,
and their ratio: the median over rounds of bare, Trainer, Trainer, bare. Exit status 1 when a ratio is below 0.9.
Run: .venv/bin/python benchmarks/throughput.py [--preset demo] [--rounds 5] [--steps 100] [--accelerator cpu]
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import lightning
import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

from data.batches import train_batch
from scaling.checkpoints import Checkpoints
from scaling.chunks import CHUNK_STEPS, Chunks
from scaling.lab import packaged_recipe
from scaling.ladder import Rung, load_ladder
from scaling.loading import LoadedRecipe, load
from scaling.module import RecipeModule

WANTED_RATIO = 0.9
VOCAB_SIZE = 257
TOKENS = np.random.default_rng(0).integers(0, VOCAB_SIZE, 1_000_000).astype(np.uint16)


class Stopwatch(lightning.Callback):
    """Clocks the Trainer from the end of its first chunk to the end of its last: all that it does in between counts."""

    def __init__(self) -> None:
        """Begin with nothing clocked."""
        self.started = self.stopped = 0.0

    def on_train_batch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule, *_: object) -> None:
        """Note the time after each chunk."""
        synchronize(module.device)
        self.stopped = time.perf_counter()
        self.started = self.started or self.stopped


def main() -> None:
    """Measure and print one line per rung."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=100, help="timed steps of each turn")
    parser.add_argument("--accelerator", choices=("cpu", "gpu"), default="cpu")
    chosen = parser.parse_args()
    silence()
    torch.set_num_threads(1)
    ladder, recipe = load_ladder(chosen.preset), load(packaged_recipe())
    ratios = []
    for rung in ladder.rungs:
        short = rung.at_horizon((chosen.steps + CHUNK_STEPS) * rung.batch_tokens)
        turns = [measure(recipe, short, ladder.base, chosen.accelerator) for _ in range(chosen.rounds)]
        bare, trainer = (statistics.median(column) for column in zip(*turns, strict=True))
        ratio = statistics.median(b / a for a, b in turns)
        ratios.append(ratio)
        print(f"{rung.name}: bare {bare:,.0f}, Trainer {trainer:,.0f} tokens per second, ratio {ratio:.3f}")
    sys.exit(0 if min(ratios) >= WANTED_RATIO else 1)


def measure(recipe: LoadedRecipe, rung: Rung, base: Rung, accelerator: str) -> tuple[float, float]:
    """Tokens per second of the bare loop and of the Trainer, over the turns bare, Trainer, Trainer, bare."""
    turns = [
        bare(recipe, rung, base, accelerator),
        trained(recipe, rung, base, accelerator),
        trained(recipe, rung, base, accelerator),
        bare(recipe, rung, base, accelerator),
    ]
    tokens = (rung.steps - CHUNK_STEPS) * rung.batch_tokens
    return 2 * tokens / (turns[0] + turns[3]), 2 * tokens / (turns[1] + turns[2])


def bare(recipe: LoadedRecipe, rung: Rung, base: Rung, accelerator: str) -> float:
    """Seconds of a plain loop after as many warm-up steps as the Trainer's first chunk has."""
    device = torch.device("cuda" if accelerator == "gpu" else "cpu")
    knobs = recipe.resolve(rung, base)
    torch.manual_seed(0)
    model: nn.Module = recipe.build_model(rung, knobs, VOCAB_SIZE).to(device)
    (optimizer,) = recipe.build_optimizers(model, rung, knobs)
    rates = [group["lr"] for group in optimizer.param_groups]
    started = 0.0
    for step in range(rung.steps):
        if step == CHUNK_STEPS:
            synchronize(device)
            started = time.perf_counter()
        batch = train_batch(TOKENS, seed=0, step=step, batch_size=rung.batch_size, context=rung.context)
        ids = torch.from_numpy(batch).to(device)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * recipe.schedule(step / rung.steps, knobs)
        optimizer.zero_grad(set_to_none=True)
        loss = functional.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    synchronize(device)
    return time.perf_counter() - started


def trained(recipe: LoadedRecipe, rung: Rung, base: Rung, accelerator: str) -> float:
    """Seconds of the harness's own loop, from the end of the first chunk to the end of the last."""
    torch.manual_seed(0)
    module = RecipeModule(recipe, rung, recipe.resolve(rung, base), VOCAB_SIZE)
    stopwatch = Stopwatch()
    with TemporaryDirectory() as folder:
        trainer = lightning.Trainer(
            accelerator=accelerator,
            devices=1,
            max_epochs=1,
            callbacks=[Checkpoints(Path(folder) / "run.ckpt", every_seconds=30.0), stopwatch],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, DataLoader(Chunks(TOKENS, rung, seed=0, first=0, device_index=0), batch_size=None))
    return stopwatch.stopped - stopwatch.started


def synchronize(device: torch.device) -> None:
    """Wait for a GPU; a CPU is done when it returns."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def silence() -> None:
    """Keep Lightning's banners out of the figures."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")


if __name__ == "__main__":
    main()
