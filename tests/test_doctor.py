"""The doctor says what a model that proposes needs, and never what the key is."""

from pathlib import Path

import pytest
from cells import needs_bubblewrap

from analysis.doctor import Finding, examine


def found() -> dict[str, Finding]:
    return {one.name: one for one in examine()}


@needs_bubblewrap
def test_where_cells_hold_the_doctor_says_so() -> None:
    findings = found()
    assert findings["bubblewrap"].ok and findings["bubblewrap"].found[0].isdecimal()
    assert findings["sandbox"].ok and "self-test" in findings["sandbox"].found
    assert findings["anthropic"].ok


def test_a_key_is_looked_for_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-secret")
    findings = found()
    assert findings["ANTHROPIC_API_KEY"].ok
    assert "secret" not in repr(findings)

    monkeypatch.delenv("ANTHROPIC_API_KEY")
    missing = found()["ANTHROPIC_API_KEY"]
    assert not missing.ok and not missing.needed


def test_what_only_a_model_needs_is_not_called_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = found()["bubblewrap"]
    assert not missing.ok and not missing.needed
    assert "apt install bubblewrap" in missing.found
