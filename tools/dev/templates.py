"""What authors of handlers start from: an example of a module, and the files of a project around it.

In the files of a project `my-handlers` stands for its name, and `my_handlers` for its module.
"""

from typing import Final

EXAMPLE: Final = '''\
"""Handlers: each does the work of one job type."""

from dataclasses import dataclass

from innosystem.runner import handler


@dataclass
class Guest:
    name: str


@handler("greet")
def greet(guest: Guest) -> dict:
    return {"greeting": f"Hello, {guest.name}!"}
'''

EXAMPLE_INPUT: Final = '{"name": "Ada"}'

_TEST: Final = '''\
"""Handlers are run as a runner would run them, without a platform."""

import pytest
from innosystem.runner import JobError
from innosystem.runner.testing import run_handler

import my_handlers


def test_a_guest_is_greeted():
    assert run_handler(my_handlers.greet, {"name": "Ada"}) == {"greeting": "Hello, Ada!"}


def test_a_greeting_without_a_name_is_not_tried_again():
    with pytest.raises(JobError) as failure:
        run_handler(my_handlers.greet, {})
    assert (failure.value.type, failure.value.retryable) == ("INVALID_INPUT", False)
'''

_README: Final = """\
# my-handlers

Handlers of Innosystem: `my_handlers.py`. The commands need `innosystem` and `pytest` in the environment.

Test them without a platform:

    python -m pytest

Run them on a stack of this machine, again after each change, and submit a job in another terminal:

    innosystem dev my_handlers.py
    innosystem dev submit my-handlers.greet '{"name": "Ada"}'

Sell them on the platform of the current context (`innosystem context`), and run them beside it. Their jobs have a
queue of their own:

    innosystem handlers check --offline my_handlers.py
    innosystem handlers register my_handlers.py --price 0.01EUR --queue my-handlers
    innosystem run --handlers my_handlers.py --queue my-handlers

Then customers can buy them:

    innosystem submit --job-type my-handlers.greet --customer-id ada@example.com --input '{"name": "Ada"}' --wait

Deploy them. `Dockerfile` builds on the image of the platform; `deployment.yaml` says which secret it needs:

    docker build --tag my-handlers:0.1.0 .
    kubectl apply --filename deployment.yaml
"""

_DOCKERFILE: Final = """\
FROM innosystem:0.1.0
# Further requirements of the handlers. The environment has no pip, the image's own Python has.
COPY requirements.txt ./
USER root
RUN /usr/local/bin/python -m pip --python /opt/innosystem/bin/python install --no-cache-dir -r requirements.txt
USER 10001:10001
COPY my_handlers.py ./
CMD ["python", "-m", "innosystem.runner", "--handlers", "my_handlers", "--queue", "my-handlers"]
"""

_DEPLOYMENT: Final = """\
# kubectl create secret generic my-handlers --from-literal=redis-url=redis://... --from-file=token=runner.token
apiVersion: apps/v1
kind: Deployment
metadata:
  name: my-handlers
spec:
  replicas: 2
  selector:
    matchLabels: {app: my-handlers}
  template:
    metadata:
      labels: {app: my-handlers}
    spec:
      # Longer than RUNNER_DRAIN_SECONDS, 25 by default: within that time jobs are finished or returned.
      terminationGracePeriodSeconds: 40
      containers:
        - name: runner
          image: my-handlers:0.1.0
          env:
            - {name: JOBS_ADDRESS, value: "jobs:50053"}
            - {name: WALLETS_ADDRESS, value: "wallets:50052"}
            - {name: REDIS_URL, valueFrom: {secretKeyRef: {name: my-handlers, key: redis-url}}}
            # Read again when it changes.
            - {name: RUNNER_TOKEN_FILE, value: /run/secrets/innosystem/token}
            - {name: RUNNER_HEALTH_FILE, value: /tmp/runner-polled}
          volumeMounts:
            - {name: secret, mountPath: /run/secrets/innosystem, readOnly: true}
          livenessProbe:
            exec: {command: [python, /opt/innosystem/health.py]}
            initialDelaySeconds: 30
            periodSeconds: 10
            timeoutSeconds: 5
          securityContext: {runAsNonRoot: true, allowPrivilegeEscalation: false}
      volumes:
        - name: secret
          secret: {secretName: my-handlers, items: [{key: token, path: token}]}
"""

_REQUIREMENTS: Final = "# What the handlers need beside innosystem-runner, a line each.\n"

PROJECT: Final = {
    "my_handlers.py": EXAMPLE.replace('"greet"', '"my-handlers.greet"'),
    "test_my_handlers.py": _TEST,
    "README.md": _README,
    "requirements.txt": _REQUIREMENTS,
    "Dockerfile": _DOCKERFILE,
    "deployment.yaml": _DEPLOYMENT,
    ".gitignore": ".innosystem/\n.pytest_cache/\n__pycache__/\n",
}
"""The files of a project."""
