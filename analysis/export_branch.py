"""`scaleproof export --branch`: the findings as a git branch, one commit each on top of the baseline."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.evidence import read_evidence
from analysis.export_findings import AUTHOR, EMAIL, FILE, Change, read_changes
from analysis.progress import unfinished
from data.errors import InputError, ScaleproofError
from data.store import Store
from scaling.edits import MergeConflictError, Recipe, merge

_NEW = "0" * 40


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch as it stands after an export.

    commits: findings in the order of their commits. left_out: findings that have none, and why. changed: False where
    the branch had been there before, just as it is.
    """

    repository: Path
    name: str
    commits: Sequence[str]
    left_out: Mapping[str, str]
    changed: bool


def export_branch(study_path: Path, repository: Path, branch: str = "findings") -> Branch:
    """Write the baseline and the findings to a branch of a git repository, which is made where it is missing.

    The first commit holds the baseline as `recipe.py`; each finding, the strongest first, is merged onto those before
    it. Author and dates follow from the study alone, so that the same findings give the same commits. A branch that an
    earlier export left gives way, where it is checked out too; nobody else's commits or files are touched.

    Raises InputError for a study without findings, a name that git does not take, a folder that holds something else
    than exports, and a branch of that name with other work; ScaleproofError when git fails.
    """
    changes = read_changes(study_path)
    if not changes:
        why = unfinished(read_evidence(Store(study_path))) or "Search first."
        raise InputError(f"{study_path} has no finding yet, so there is nothing to export. {why}")
    git = Git(repository)
    git.check_name(branch)
    git.require_room()
    stacked, left_out = stack(changes)
    tip = _write(git, study_path.resolve().name, changes, stacked)
    return Branch(
        repository=repository,
        name=branch,
        commits=[change.finding_id for change, _ in stacked],
        left_out=left_out,
        changed=git.point(branch, tip),
    )


def stack(changes: Sequence[Change]) -> tuple[list[tuple[Change, Recipe]], dict[str, str]]:
    """Merge each change onto those before it; returns them with what they yield, and those left out with the reason."""
    recipe, stacked, left_out = changes[0].base, list[tuple[Change, Recipe]](), dict[str, str]()
    for change in changes:
        if not change.current:
            left_out[change.finding_id] = "It was found on another baseline than the study has now."
            continue
        try:
            merged = merge(recipe, change.base, change.recipe)
        except MergeConflictError as error:
            left_out[change.finding_id] = f"It conflicts with stronger findings: {error}"
            continue
        if merged.text == recipe.text:
            left_out[change.finding_id] = "Stronger findings make the same change."
            continue
        recipe = merged
        stacked.append((change, merged))
    return stacked, left_out


def _write(git: "Git", study: str, changes: Sequence[Change], stacked: Sequence[tuple[Change, Recipe]]) -> str:
    first = min(change.made_at for change in changes)
    commit = git.commit(changes[0].base.text, f"Baseline of the study {study}\n", first, parent=None)
    for change, recipe in stacked:
        commit = git.commit(recipe.text, f"{change.subject}\n\n{change.body}", change.made_at, parent=commit)
    return commit


class Git:
    """One repository, whatever the user's own settings and hooks are."""

    def __init__(self, folder: Path) -> None:
        """The repository in `folder`; nothing is made yet."""
        self._folder = folder

    def check_name(self, branch: str) -> None:
        """Raise InputError for what cannot be the name of a branch."""
        if branch.startswith("-") or self._try("check-ref-format", f"refs/heads/{branch}", anywhere=True) is None:
            raise InputError(f"{branch!r} cannot be the name of a branch: take letters, digits and hyphens.")

    def require_room(self) -> None:
        """Make the repository where there is none; raise InputError where the folder holds something else."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            empty = not any(self._folder.iterdir())
        except OSError as error:
            raise InputError(
                f"{self._folder} cannot be a repository ({error.strerror}): name a folder that you may write to."
            ) from error
        if empty:
            self._run("init", "--quiet", "--template=", ".")
        elif self._try("rev-parse", "--is-inside-work-tree") is None or self._try("rev-parse", "--show-prefix"):
            raise InputError(f"{self._folder} is neither empty nor a git repository: name a new folder.")
        roots = (self._try("log", "--branches", "--max-parents=0", "--format=%ce") or "").split()
        if set(roots) - {EMAIL}:
            raise InputError(f"{self._folder} holds other work than exported findings: name a new folder.")

    def commit(self, text: str, message: str, date: int, *, parent: str | None) -> str:
        """Write a commit whose tree is the recipe alone; returns its name. No branch and no file is touched."""
        blob = self._run("hash-object", "-w", "--stdin", given=text)
        tree = self._run("mktree", given=f"100644 blob {blob}\t{FILE}\n")
        parents = [] if parent is None else ["-p", parent]
        return self._run("commit-tree", tree, *parents, given=message, date=date)

    def point(self, branch: str, tip: str) -> bool:
        """Let the branch point to a commit; returns False where it does already.

        Raises InputError where somebody else's commits are on it, or files of it were changed by hand.
        """
        ref = f"refs/heads/{branch}"
        there = self._try("rev-parse", "--verify", "--quiet", ref)
        if there is not None and there != tip:
            self._give_way(ref, there, tip)
        if there != tip:
            self._run("update-ref", ref, tip, there or _NEW)
        if self._holds_nothing():
            self._run("checkout", "--quiet", branch, "--")
        return there != tip

    def _give_way(self, ref: str, there: str, tip: str) -> None:
        """See that nothing is lost when the branch leaves its commits; files that are checked out go along."""
        branch = ref.removeprefix("refs/heads/")
        if set(self._run("log", "--format=%ae%n%ce", there).split()) != {EMAIL}:
            raise InputError(
                f"The branch {branch} of {self._folder} holds other work than exported findings: give it another name "
                f"(git branch -m {branch} mine), or name another folder."
            )
        if self._try("symbolic-ref", "--quiet", "HEAD") != ref:
            return
        self._try("update-index", "-q", "--refresh")
        if self._try("read-tree", "-m", "-u", there, tip) is None:
            raise InputError(
                f"Files in {self._folder} were changed since the last export: commit them to a branch of their own, or "
                "name another folder."
            )

    def _holds_nothing(self) -> bool:
        unborn = self._try("rev-parse", "--verify", "--quiet", "HEAD") is None
        return unborn and [one.name for one in self._folder.iterdir()] == [".git"]

    def _run(self, *arguments: str, given: str = "", date: int = 0) -> str:
        done = self._call(arguments, given, date)
        if done.returncode:
            why = done.stderr.decode(errors="replace").strip() or f"status {done.returncode}"
            raise ScaleproofError(f"git {arguments[0]} failed in {self._folder}: {why}.")
        return done.stdout.decode().strip()

    def _try(self, *arguments: str, anywhere: bool = False) -> str | None:
        done = self._call(arguments, "", 0, anywhere=anywhere)
        return None if done.returncode else done.stdout.decode().strip()

    def _call(
        self, arguments: Sequence[str], given: str, date: int, *, anywhere: bool = False
    ) -> subprocess.CompletedProcess[bytes]:
        settings = ["core.hooksPath=/dev/null", "core.autocrlf=false", "i18n.commitEncoding=UTF-8"]
        command = ["git", *(part for one in settings for part in ("-c", one)), *arguments]
        own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        for who in ("AUTHOR", "COMMITTER"):
            own |= {f"GIT_{who}_NAME": AUTHOR, f"GIT_{who}_EMAIL": EMAIL, f"GIT_{who}_DATE": f"@{date} +0000"}
        where = None if anywhere else self._folder
        try:
            return subprocess.run(command, input=given.encode(), cwd=where, env=own, capture_output=True, check=False)
        except FileNotFoundError as error:
            raise ScaleproofError("git is needed to export a branch; install it and try again.") from error
