"""The corpus, made once and without the checks of shapes: twenty thousand sentences are a million calls."""

import jaxtyping
import pytest

from attention_core.datasets import translation
from attention_core.datasets.parallel import SIZES


@pytest.fixture(scope="package", autouse=True)
def _fast():
    """`test_every_step_is_given_what_its_annotation_says` looks at the types of the grammar."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture(scope="package")
def splits(_fast):
    return {name: translation(name) for name in SIZES}


@pytest.fixture(scope="package")
def pairs(splits):
    return [pair for each in splits.values() for pair in each]
