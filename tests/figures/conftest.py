"""Run a view's own JavaScript without a browser."""

import json

import pytest
import quickjs


@pytest.fixture
def javascript():
    """javascript(module text, "name", argument, ...) -> what that exported function returns."""

    def call(module: str, name: str, *arguments: object) -> object:
        context = quickjs.Context()
        context.module(f"{module}\nglobalThis.under_test = {name};")
        given = ", ".join(json.dumps(argument) for argument in arguments)
        return json.loads(context.eval(f"JSON.stringify(under_test({given}))"))

    return call
