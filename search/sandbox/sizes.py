"""Sizes of recipes that inmates counted, and what a run is expected to take, which bounds its cells."""

from __future__ import annotations

from data.study import Study
from data.tokens import TokenSet
from scaling.ladder import Rung
from scaling.runs import Job, RunSpec
from scaling.shape import Shape, keep_shape, read_shape, shape_file
from search.sandbox.limits import Limits, SandboxSettings


def limits_of(study: Study, job: Job, vocab_size: int) -> Limits:
    """The limits of a job's cells: what the study sets, else what its rung and the baseline's runs there suggest.

    The recipe's own count of its parameters is not asked: an enemy would count many.
    """
    rung, precedent = job.rung, job.precedent if isinstance(job, RunSpec) else None
    return SandboxSettings.read(study.settings.get("sandbox", {})).for_run(
        params=max(expected_params(rung, vocab_size), precedent.params if precedent else 0),
        logits=rung.batch_tokens * vocab_size,
        devices=rung.devices,
        baseline_seconds=precedent.seconds if precedent else None,
    )


def expected_params(rung: Rung, vocab_size: int) -> int:
    """Parameters of a plain transformer of a rung's depth and width; norms and biases apart."""
    return rung.width * (12 * rung.depth * rung.width + 2 * vocab_size + rung.context)


class Sizes:
    """A recipe's sizes at a rung and horizon: a file, once they were counted, kept apart from what is counted outside.

    They are what inmates say.
    """

    def __init__(self, study: Study, spec: RunSpec, tokens: TokenSet) -> None:
        """Look in the study's folder of sizes."""
        counted = shape_file(study.shapes, spec.recipe_hash, (spec.rung, spec.base), tokens.vocab_size)
        self._path = counted.with_suffix(".told.json")

    def read(self) -> Shape | None:
        """What is known, or None."""
        return read_shape(self._path)

    def keep(self, size: Shape) -> Shape:
        """Keep it for the next run, and give it back."""
        return keep_shape(self._path, size)
