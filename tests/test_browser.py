"""A machine without a browser: the tests say so by name, and fail where CI=true."""

from types import SimpleNamespace

import pytest

from . import browser


@pytest.fixture
def bare_machine(monkeypatch):
    monkeypatch.setattr(browser.shutil, "which", lambda name: None)
    return SimpleNamespace(chromium=SimpleNamespace(executable_path="/nowhere/chromium"))


def test_without_chromium_the_browser_tests_are_skipped_by_name(bare_machine, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no Chromium"):
        browser.launch(bare_machine)


def test_without_chromium_the_browser_tests_fail_in_ci(bare_machine, monkeypatch):
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no Chromium"):
        browser.launch(bare_machine)
