"""The help of each list has an example of a filter, which that list understands."""

import re

import pytest

from services.customers.rules.resources import API_KEYS, CUSTOMERS
from services.jobs.rules.resources import JOB_TYPES, JOBS, RUNNERS
from services.kit.data.audit.entries import AUDIT_LOG
from services.kit.query.filter import parse_filter
from services.kit.query.resource import Resource
from services.wallets.rules.resources import HOLDS, TRANSACTIONS, WALLETS
from tools.cli.__main__ import command_line

LISTS = {
    "audit list": AUDIT_LOG,
    "customers list": CUSTOMERS,
    "customers keys list": API_KEYS,
    "job-types list": JOB_TYPES,
    "jobs list": JOBS,
    "jobs cancel": JOBS,
    "jobs retry": JOBS,
    "runners list": RUNNERS,
    "wallets list": WALLETS,
    "wallets holds": HOLDS,
    "wallets statement": TRANSACTIONS,
}


@pytest.mark.parametrize(("command", "resource"), LISTS.items(), ids=LISTS)
def test_the_help_shows_a_filter_of_its_own_list(command: str, resource: Resource) -> None:
    words = command.split()
    chain, apps, unused = command_line(words[0]).parse_commands(words)
    assert (list(chain), unused) == (words, [])
    [option] = [one for one in apps[-1].assemble_argument_collection() if "--filter" in one.names]
    [example] = re.findall("`(.+)`", option.parameter.help or "")
    parse_filter(example, resource)
