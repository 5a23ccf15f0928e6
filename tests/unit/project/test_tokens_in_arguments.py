"""What we tell people to type puts no token into the arguments of a program, which every user of the machine sees."""

import re

import pytest

from tests.support.documents import Document, pages
from tools.cli import stack_context

# A shell replaces a variable between double quotes before the program starts.
_HEADER = re.compile(r"authorization: Bearer \$\w")


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_a_page_leaves_the_token_of_grpcurl_to_grpcurl(page: Document) -> None:
    assert not _HEADER.search(page.text)


def test_a_stack_leaves_the_token_of_grpcurl_to_grpcurl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack_context, "typed", lambda name: name)
    settings = {"JOBS_ADDRESS": "127.0.0.1:1", "INNOSYSTEM_TOKEN": "planted"}
    [line] = stack_context.for_grpcurl(settings)
    assert "planted" not in line
    assert "-expand-headers -H 'authorization: Bearer ${INNOSYSTEM_TOKEN}'" in line
