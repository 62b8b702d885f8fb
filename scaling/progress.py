"""Long work shows itself: what is running, what is left, and the best answer so far."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from scaling.runs import Job, TimingSpec

LINE_SECONDS = 300.0


class RichProgress:
    """A bar per stage; where the output is no terminal, a line at its start and another every five minutes."""

    def __init__(self, console: Console, line_seconds: float = LINE_SECONDS) -> None:
        """Draw on `console`; without a terminal, `line_seconds` apart."""
        self._console, self._line_seconds = console, line_seconds
        self._told = time.monotonic()
        self._bars = Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description:<44}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[done]:>4}/{task.fields[count]} {task.fields[noun]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[last]}", style="dim"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> RichProgress:
        """Start drawing."""
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing."""
        self._bars.stop()

    def begin(self, title: str, jobs: Sequence[Job], already: int) -> None:
        """Start a stage of `jobs`, `already` others of it having ended before."""
        if not self._console.is_terminal:
            kept = f", {already} already made" if already else ""
            self._console.print(f"{title}: {len(jobs)} runs{kept}", highlight=False)
        self._task = self._bars.add_task(
            title, total=sum(map(cost, jobs)), done=0, count=len(jobs), noun="runs", last=jobs[0].rung.name
        )

    def begin_trials(self, title: str, count: int) -> None:
        """Start a stage of `count` trials, whose runs are not known beforehand."""
        if not self._console.is_terminal:
            self._console.print(f"{title}: {count} trials", highlight=False)
        self._task = self._bars.add_task(title, total=count, done=0, count=count, noun="trials", last="")

    def trials(self, done: int, now: str) -> None:
        """`done` trials have ended; `now` says what is under way."""
        if self._task is not None:
            self._bars.update(self._task, completed=done, done=done, last=now)
            self._tell(self._task)

    def ended(self, job: Job) -> None:
        """One job of the stage has ended."""
        if self._task is None:
            return
        task = self._bars.tasks[self._bars.task_ids.index(self._task)]
        self._bars.update(
            self._task, advance=cost(job), done=task.fields["done"] + 1, last=f"{job.rung.name} {job.arm}"
        )
        self._tell(self._task)

    def _tell(self, task: TaskID) -> None:
        if self._console.is_terminal or time.monotonic() - self._told < self._line_seconds:
            return
        self._told = time.monotonic()
        fields = self._bars.tasks[self._bars.task_ids.index(task)].fields
        self.say(f"  {fields['done']}/{fields['count']} {fields['noun']}, {fields['last']}")

    def say(self, text: str) -> None:
        """Print the best answer so far, above the bars; what a model wrote in it is no markup."""
        self._console.print(text, highlight=False, soft_wrap=True, markup=False)


def cost(job: Job) -> float:
    """What a job costs, in arbitrary units that order jobs by time: tokens x depth x width."""
    rung = job.rung
    tokens = 60 * rung.batch_tokens if isinstance(job, TimingSpec) else rung.tokens
    return float(tokens) * rung.depth * rung.width
