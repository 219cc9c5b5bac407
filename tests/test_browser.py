"""A machine without a browser: the tests say so by name, and fail where CI=true."""

from types import SimpleNamespace

import pytest

from . import browser


@pytest.fixture
def bare_machine(monkeypatch):
    monkeypatch.setattr(browser.shutil, "which", lambda name: None)
    return SimpleNamespace(chromium=SimpleNamespace(executable_path="/nowhere/chromium"))


def outcome(machine) -> type:
    """How `launch` ends a test there: skipped or failed. Caught here, or a wrong skip would pass for one."""
    with pytest.raises((pytest.skip.Exception, pytest.fail.Exception), match="no Chromium") as ended:
        browser.launch(machine)
    return ended.type


def test_without_chromium_the_browser_tests_are_skipped_by_name(bare_machine, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    assert outcome(bare_machine) is pytest.skip.Exception


def test_without_chromium_the_browser_tests_fail_in_ci(bare_machine, monkeypatch):
    monkeypatch.setenv("CI", "true")
    assert outcome(bare_machine) is pytest.fail.Exception
